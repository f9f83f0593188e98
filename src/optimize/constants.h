#pragma once

#include <memory>
#include <vector>

#include "core/storage.h"
#include "optimize/graph.h"

namespace wick {

class Backend;

/// An element of any dtype; i64 beyond 2^53 is rounded.
double element_of(DType dtype, const std::byte* data);

/// Values of a graph that depend on no data, computed by the CPU backend's own kernels, each at most once.
/// What needs more than `most_bytes` for itself or for something that it is made of counts as unknown.
class ConstantValues {
 public:
  ConstantValues(const Graph& graph, std::uint64_t most_bytes);
  /// Looks only at what `node` is made of; all else counts as unknown.
  ConstantValues(const Graph& graph, std::uint64_t most_bytes, std::uint32_t node);

  bool is_known(std::uint32_t node) const { return known_[node] != 0; }
  /// The elements of a known node, row-major; null when computing them fails, as with an index out of range,
  /// and the node is then no longer known.
  const std::shared_ptr<Storage>& value(std::uint32_t node);

 private:
  ConstantValues(const Graph& graph, std::uint64_t most_bytes, const std::vector<char>& looked_at);
  /// Of a node whose inputs have theirs.
  void compute(std::uint32_t node);
  bool has_kernel(const GraphNode& node) const;

  const Graph& graph_;
  const Backend& backend_;
  std::vector<char> known_;
  std::vector<std::shared_ptr<Storage>> values_;
};

}  // namespace wick
