#include "graph/structure_key.h"

namespace wick {
namespace {

constexpr std::size_t fixed = 64 + key_bytes_beside;               // the fixed part of a node
constexpr std::size_t leaf = 2 * sizeof(std::int64_t) * max_rank;  // layout of a leaf

void put_leaf(KeyWriter& key, const Node& node) {
  key.put(static_cast<const Op*>(nullptr));
  key.put(node.device());
  key.put(node.dtype());
  const Value* value = node.value();
  key.put(node.shape().rank());
  key.put(value != nullptr);
  const std::size_t bytes = sizeof(std::int64_t) * static_cast<std::size_t>(node.shape().rank());
  key.put(node.shape().dims().data(), bytes);
  if (value) key.put(value->layout.strides.data(), bytes);
}

}  // namespace

void put_structure(KeyWriter& key, const Walk& walk, std::size_t i) {
  const Node& node = *walk.order[i];
  if (walk.is_leaf(i)) {
    key.reserve(fixed + leaf);
    return put_leaf(key, node);
  }
  const auto attrs = node.attrs().bytes();
  const auto inputs = walk.inputs(i);
  key.reserve(fixed + attrs.size() + inputs.size_bytes());
  key.put(node.op());
  key.put(attrs.data(), attrs.size());
  key.put(static_cast<std::uint32_t>(inputs.size()));
  key.put(inputs.data(), inputs.size_bytes());
}

}  // namespace wick
