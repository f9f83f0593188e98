#include "optimize/constants.h"

#include <algorithm>
#include <cstring>

#include "backend/backend.h"
#include "ops/copy.h"
#include "wick/device.h"
#include "wick/error.h"

namespace wick {
namespace {

std::uint64_t stored_bytes(const Spec& spec) {
  return static_cast<std::uint64_t>(spec.shape.elements()) * size_of(spec.dtype);
}

/// Flags of the node and of what it depends on.
std::vector<char> made_of(const Graph& graph, std::uint32_t node) {
  std::vector<char> parts(graph.nodes.size(), 0);
  parts[node] = 1;
  for (std::size_t i = node + std::size_t{1}; i-- > 0;)
    if (parts[i])
      for (std::uint32_t input : graph.nodes[i].inputs) parts[input] = 1;
  return parts;
}

Slot slot_of(const Spec& spec) { return {spec.dtype, Layout::contiguous(spec.shape)}; }

template <typename T>
double element(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return static_cast<double>(value);
}

template <typename T>
double narrow_element(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return static_cast<double>(static_cast<float>(value));
}

}  // namespace

double element_of(DType dtype, const std::byte* data) {
  switch (dtype) {
    case DType::bool_:
    case DType::u8: return element<std::uint8_t>(data);
    case DType::i32: return element<std::int32_t>(data);
    case DType::i64: return element<std::int64_t>(data);
    case DType::f16: return narrow_element<float16>(data);
    case DType::bf16: return narrow_element<bfloat16>(data);
    case DType::f32: return element<float>(data);
    case DType::f64: return element<double>(data);
  }
  return 0;
}

ConstantValues::ConstantValues(const Graph& graph, std::uint64_t most_bytes)
    : ConstantValues(graph, most_bytes, std::vector<char>(graph.nodes.size(), 1)) {}

ConstantValues::ConstantValues(const Graph& graph, std::uint64_t most_bytes, std::uint32_t node)
    : ConstantValues(graph, most_bytes, made_of(graph, node)) {}

ConstantValues::ConstantValues(const Graph& graph, std::uint64_t most_bytes,
                               const std::vector<char>& looked_at)
    : graph_(graph), backend_(backend_for(cpu)), known_(graph.nodes.size(), 0), values_(graph.nodes.size()) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    known_[i] = looked_at[i] && node.op && !node.group && stored_bytes(node.spec) <= most_bytes &&
                node.spec.shape.elements() > 0 &&
                std::all_of(node.inputs.begin(), node.inputs.end(),
                            [&](std::uint32_t input) { return known_[input] != 0; }) &&
                (node.op->view || has_kernel(node));
  }
}

bool ConstantValues::has_kernel(const GraphNode& node) const {
  const KernelEntry* entry = backend_.find(*node.op);
  if (!entry) return false;
  std::vector<Slot> slots;
  for (std::uint32_t input : node.inputs) slots.push_back(slot_of(graph_.nodes[input].spec));
  return !entry->supports || entry->supports({*node.op, node.attrs, slots, slot_of(node.spec)});
}

const std::shared_ptr<Storage>& ConstantValues::value(std::uint32_t node) {
  // What it is made of, inputs first: by a list, as chains may be long.
  std::vector<std::uint32_t> pending{node};
  while (!pending.empty()) {
    const std::uint32_t top = pending.back();
    const std::size_t before = pending.size();
    if (is_known(top) && !values_[top])
      for (std::uint32_t input : graph_.nodes[top].inputs)
        if (is_known(input) && !values_[input]) pending.push_back(input);
    if (pending.size() > before) continue;
    if (is_known(top) && !values_[top]) compute(top);
    pending.pop_back();
  }
  return values_[node];
}

void ConstantValues::compute(std::uint32_t i) {
  const GraphNode& node = graph_.nodes[i];
  known_[i] = std::all_of(node.inputs.begin(), node.inputs.end(),
                          [&](std::uint32_t input) { return values_[input] != nullptr; });
  if (!is_known(i)) return;
  std::shared_ptr<Storage> result = backend_.allocate(stored_bytes(node.spec));
  std::vector<Slot> slots;
  std::vector<const void*> inputs;
  for (std::uint32_t input : node.inputs) {
    slots.push_back(slot_of(graph_.nodes[input].spec));
    inputs.push_back(values_[input]->data());
  }
  const Op* op = node.op;
  if (op->view) {
    const std::optional<Layout> layout = op->view(slots[0].layout, node.spec, node.attrs);
    slots[0].layout = layout.value();  // NOLINT(bugprone-unchecked-optional-access): row-major is viewable
    inputs[0] = values_[node.inputs[0]]->data() +
                slots[0].layout.offset * static_cast<std::int64_t>(size_of(node.spec.dtype));
    slots[0].layout.offset = 0;
    op = &copy_op();
  }
  const Attrs attrs = node.op->view ? Attrs{} : node.attrs;
  const auto kernel = backend_.find(*op)->prepare({*op, attrs, slots, slot_of(node.spec)});
  const std::shared_ptr<Storage> scratch =
      backend_.allocate(std::max<std::size_t>(kernel->scratch_bytes(), 1));
  try {
    kernel->run(inputs.data(), result->data(), scratch->data());
    values_[i] = std::move(result);
  } catch (const ArgumentError&) {
    known_[i] = 0;  // the plan will report it, with the line that recorded it
  }
}

}  // namespace wick
