#include "runtime/numeric_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "graph/record.h"
#include "graph/scope_names.h"
#include "wick/error.h"
#include "wick/numerics.h"

namespace wick {
namespace {

std::atomic<bool>& checks_everywhere() noexcept {
  static std::atomic<bool> on{[] {
    const char* text = std::getenv("WICK_CHECK_NUMERICS");
    const std::string_view value = text ? text : "";
    return !value.empty() && value != "0";
  }()};
  return on;
}

thread_local bool checks_here = false;

void take_in(NumericRange& range, double x) {
  ++range.elements;
  if (std::isnan(x)) {
    ++range.nans;
  } else if (std::isinf(x)) {
    ++range.infinities;
  } else {
    range.low = std::min(range.low, x);
    range.high = std::max(range.high, x);
  }
}

float as_float(float x) noexcept { return x; }
float as_float(bfloat16 x) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

/// The range of numbers that are all finite, else nothing: the usual case, several at a time.
template <typename T>
std::optional<NumericRange> finite_range(const T* data, std::int64_t count) {
  constexpr std::int64_t lanes = 16;
  constexpr std::uint32_t exponent = 0x7F800000;  // all ones in NaN and infinity
  std::array<float, lanes> low;
  std::array<float, lanes> high;
  std::array<std::uint32_t, lanes> largest{};
  low.fill(std::numeric_limits<float>::max());
  high.fill(std::numeric_limits<float>::lowest());
  const auto take = [&](std::size_t lane, float x) {
    low[lane] = x < low[lane] ? x : low[lane];
    high[lane] = x > high[lane] ? x : high[lane];
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x) & exponent;
    largest[lane] = bits > largest[lane] ? bits : largest[lane];
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane)
      take(lane, as_float(data[i + static_cast<std::int64_t>(lane)]));
  for (; i < count; ++i) take(0, as_float(data[i]));
  if (*std::max_element(largest.begin(), largest.end()) == exponent) return std::nullopt;
  NumericRange range;
  range.elements = static_cast<std::uint64_t>(count);
  if (count > 0) {
    range.low = static_cast<double>(*std::min_element(low.begin(), low.end()));
    range.high = static_cast<double>(*std::max_element(high.begin(), high.end()));
  }
  return range;
}

/// `T` is converted to double by way of `Through`.
template <typename T, typename Through>
NumericRange range_as(const std::byte* data, const Layout& layout) {
  NumericRange range;
  const auto* first = reinterpret_cast<const T*>(data);
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, bfloat16>) {
    if (layout.is_contiguous())
      if (const auto finite = finite_range(first, layout.shape.elements())) return *finite;
  }
  std::array<std::int64_t, max_rank> position{};
  std::int64_t offset = 0;
  for (std::int64_t left = layout.shape.elements(); left > 0; --left) {
    take_in(range, static_cast<double>(static_cast<Through>(first[offset])));
    for (int d = layout.shape.rank(); d-- > 0;) {
      const auto axis = static_cast<std::size_t>(d);
      offset += layout.strides[axis];
      if (++position[axis] < layout.shape[d]) break;
      offset -= layout.strides[axis] * layout.shape[d];
      position[axis] = 0;
    }
  }
  return range;
}

NumericRange range_of_data(const std::byte* data, const Layout& layout, DType dtype) {
  switch (dtype) {
    case DType::f16: return range_as<float16, float>(data, layout);
    case DType::bf16: return range_as<bfloat16, float>(data, layout);
    case DType::f32: return range_as<float, float>(data, layout);
    case DType::f64: return range_as<double, double>(data, layout);
    default: return {};
  }
}

std::string spec_text(const Spec& spec) { return fmt::format("{}{}", name_of(spec.dtype), spec.shape.str()); }

std::string range_text(const NumericRange& range) {
  std::string text = range.low <= range.high ? fmt::format("from {:.6g} to {:.6g}", range.low, range.high)
                                             : std::string("no finite value");
  if (range.nans > 0) text += fmt::format(", {} NaN", range.nans);
  if (range.infinities > 0) text += fmt::format(", {} infinite", range.infinities);
  return text;
}

std::string call_text(const Graph& graph, const GraphNode& node) {
  std::string text = describe_call(*node.op, graph.input_specs(node), node.attrs, node.where);
  const std::string scope = scope_path(node.where.scope);
  if (!scope.empty()) text += " in " + scope;
  if (is_gradient(node.where)) text += " (its gradient)";
  return text;
}

/// Where a value lies: behind ops that only look at their input.
std::uint32_t viewed(const Graph& graph, std::uint32_t node) {
  while (graph.nodes[node].op && graph.nodes[node].op->view) node = graph.nodes[node].inputs[0];
  return node;
}

}  // namespace

NumericWatcher::NumericWatcher(const Plan& plan, const Backend& backend, std::span<std::byte* const> bases)
    : plan_(plan), backend_(backend), ranges_(plan.graph.nodes.size()) {
  const auto& nodes = plan.graph.nodes;
  std::vector<char> read(nodes.size(), 0);
  for (std::uint32_t i = 0; i < nodes.size(); ++i) {
    for (std::uint32_t input : nodes[i].inputs) {
      if (nodes[input].op || read[input]) continue;
      read[input] = 1;
      const GraphLeaf& leaf = plan.graph.leaves[nodes[input].leaf];
      const std::byte* data = bases[plan.leaf_base(nodes[input].leaf)];
      ranges_[input] = range(data, leaf.layout, nodes[input].spec.dtype, leaf.on_host);
      if (ranges_[input].nans > 0 && !leaf.constant)
        throw NumericError(fmt::format(
            "an input of this evaluation is NaN already: {}, {} of {} elements; it is read by\n  {}",
            spec_text(nodes[input].spec), ranges_[input].nans, ranges_[input].elements,
            call_text(plan.graph, nodes[i])));
    }
  }
}

NumericRange NumericWatcher::range(const std::byte* data, const Layout& layout, DType dtype, bool on_host) {
  if (on_host || plan_.graph.device == cpu || !is_floating(dtype)) return range_of_data(data, layout, dtype);
  const Extent extent = extent_of(layout, size_of(dtype));
  copied_.resize(extent.bytes);
  backend_.download(data + extent.first, copied_.data(), extent.bytes);
  return range_of_data(copied_.data() - extent.first, layout, dtype);
}

void NumericWatcher::end_step(std::size_t step, const std::byte* output) {
  const Step& ended = plan_.steps[step];
  const GraphNode& node = plan_.graph.nodes[ended.node];
  if (ended.is_copy()) return;
  const NumericRange& written = ranges_[ended.node] =
      range(output, Layout::contiguous(node.spec.shape), node.spec.dtype, false);
  if ((written.nans == 0 && written.infinities == 0) || node.inputs.empty()) return;
  bool nan_before = false;
  bool infinite_before = false;
  std::string operands;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    const Spec& spec = plan_.graph.nodes[node.inputs[k]].spec;
    if (!is_floating(spec.dtype)) continue;
    const NumericRange& operand = ranges_[viewed(plan_.graph, node.inputs[k])];
    nan_before = nan_before || operand.nans > 0;
    infinite_before = infinite_before || operand.infinities > 0;
    operands += fmt::format("\n  operand {}: {} {}", k, spec_text(spec), range_text(operand));
  }
  if (nan_before || (written.nans == 0 && infinite_before)) return;
  throw NumericError(
      fmt::format("{} is the first op to give NaN or infinity: {} NaN and {} infinite of {} "
                  "elements\n  in {}{}",
                  node.op->name, written.nans, written.infinities, written.elements,
                  call_text(plan_.graph, node), operands));
}

NumericCheckScope::NumericCheckScope() noexcept : previous_(checks_here) { checks_here = true; }
NumericCheckScope::~NumericCheckScope() { checks_here = previous_; }

void set_numeric_checks(bool on) noexcept { checks_everywhere() = on; }
bool numeric_checks() noexcept { return checks_here || checks_everywhere().load(std::memory_order_relaxed); }

}  // namespace wick
