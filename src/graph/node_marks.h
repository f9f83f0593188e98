#pragma once

#include <cstdint>

#include "core/pointer_map.h"
#include "graph/node.h"

namespace wick {

/// What a walk knows of the nodes that it met: a number for each. The first walk at a time writes into the
/// nodes themselves; others that go on meanwhile use a hash map, so that no two ever write to one node.
class NodeMarks {
 public:
  static constexpr std::uint32_t absent = PointerMap::absent;

  NodeMarks();
  ~NodeMarks();
  NodeMarks(const NodeMarks&) = delete;
  NodeMarks& operator=(const NodeMarks&) = delete;

  std::uint32_t find(const Node* node) const noexcept {
    if (walk_ == 0) return map_.find(node);
    const Node::Mark& mark = node->mark();
    return mark.walk == walk_ ? mark.index : absent;
  }
  void set(const Node* node, std::uint32_t index) {
    if (walk_ == 0)
      map_.set(node, index);
    else
      node->mark() = {walk_, index};
  }

 private:
  std::uint64_t walk_ = 0;  // number of this walk, or 0: the map is used
  PointerMap map_;
};

}  // namespace wick
