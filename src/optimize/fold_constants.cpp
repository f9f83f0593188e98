#include "optimize/fold_constants.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "optimize/constants.h"
#include "optimize/pattern.h"
#include "optimize/record_into.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

/// A plan keeps what it folds.
constexpr std::uint64_t most_bytes = 64 * 1024;

/// The number that all elements are, when a constant can hold it.
std::optional<double> uniform_number(const Spec& spec, const std::byte* data) {
  const std::size_t size = size_of(spec.dtype);
  const auto bytes = static_cast<std::size_t>(spec.shape.elements()) * size;
  if (bytes > size && std::memcmp(data, data + size, bytes - size) != 0) return std::nullopt;
  const double value = element_of(spec.dtype, data);
  if (is_integer(spec.dtype) && std::abs(value) >= 0x1p53) return std::nullopt;
  return value;
}

/// Nodes that are read by something which is not known, or are outputs.
std::vector<char> needed_nodes(const Graph& graph, const ConstantValues& values) {
  std::vector<char> needed(graph.nodes.size(), 0);
  for (std::uint32_t output : graph.outputs) needed[output] = 1;
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (!values.is_known(i))
      for (std::uint32_t input : graph.nodes[i].inputs) needed[input] = 1;
  return needed;
}

}  // namespace

Graph fold_constants(const Graph& graph, const PassContext&) {
  ConstantValues values(graph, most_bytes);
  const std::vector<char> needed = needed_nodes(graph, values);
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    const bool folds = needed[i] && values.is_known(i) && !number_of(graph, i);
    const std::shared_ptr<Storage> value = folds ? values.value(i) : nullptr;
    const std::optional<double> number =
        value ? uniform_number(node.spec, value->data()) : std::optional<double>{};
    if (number) {
      out.map(i, record_into(out, {}, node.where,
                             [&](Inputs) { return full(node.spec.shape, *number, node.spec.dtype); }));
    } else if (value && graph.device.kind == DeviceKind::cpu) {
      GraphNode leaf;
      leaf.spec = node.spec;
      leaf.where = node.where;
      leaf.leaf = static_cast<std::uint32_t>(out.result().leaves.size());
      out.result().leaves.push_back(
          {node.spec.dtype, Layout::contiguous(node.spec.shape), false, false, false, value});
      out.map(i, out.append(std::move(leaf)));
    } else {
      out.map(i, out.append(out.mapped_copy(i)));
    }
  }
  return out.finish();
}

}  // namespace wick
