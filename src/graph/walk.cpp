#include "graph/walk.h"

#include <algorithm>

#include "graph/node_marks.h"

namespace wick {
namespace {

struct Frame {
  const Node* node;
  std::uint32_t next;   // position in `inputs` of the next one to visit
  std::uint32_t begin;  // its own are inputs[begin, end)
  std::uint32_t end;
  bool leaf;
};

constexpr std::uint32_t listed_mark = NodeMarks::absent - 1;  // as an input or root, and held
constexpr std::uint32_t open_mark = NodeMarks::absent - 2;
constexpr std::size_t most_expected = 100'000;

}  // namespace

Walk walk(std::span<const Tensor> roots, WalkThrough through, std::span<const Tensor> stops) {
  NodeMarks position;
  thread_local std::vector<Frame> stack;
  thread_local std::size_t expected = 0;  // nodes of the walk before, which this one may be like
  stack.clear();
  Walk result;
  PointerMap stop_set;
  for (const Tensor& stop : stops) stop_set.set(stop.node(), 0);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges;  // of `inputs`, a node in order

  thread_local std::vector<const Node*> inputs;  // of all nodes, one after the other
  inputs.clear();
  const auto list = [&](const Tensor& tensor) {
    if (position.find(tensor.node()) != NodeMarks::absent) return;
    position.set(tensor.node(), listed_mark);
    result.held.push_back(tensor);
  };
  const auto enter = [&](const Node* node) {
    if (position.find(node) != listed_mark) return;
    position.set(node, open_mark);
    const auto begin = static_cast<std::uint32_t>(inputs.size());
    bool leaf = node->op() == nullptr || (through == WalkThrough::unevaluated && node->value());
    leaf = leaf || stop_set.find(node) != NodeMarks::absent;
    const auto add = [&](const Tensor& input) {
      list(input);
      inputs.push_back(input.node());
    };
    // Its inputs may have been forgotten since: then it has a value by now.
    if (!leaf && !node->each_input(add)) leaf = through == WalkThrough::unevaluated;
    stack.push_back({node, begin, begin, static_cast<std::uint32_t>(inputs.size()), leaf});
  };

  result.order.reserve(expected);
  result.leaf.reserve(expected);
  result.held.reserve(expected);
  ranges.reserve(expected);
  for (const Tensor& root : roots) {
    list(root);
    enter(root.node());
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next < top.end) {
        enter(inputs[top.next++]);
        continue;
      }
      position.set(top.node, static_cast<std::uint32_t>(result.order.size()));
      result.order.push_back(top.node);
      result.leaf.push_back(static_cast<char>(top.leaf));
      ranges.emplace_back(top.begin, top.end);
      stack.pop_back();
    }
    result.roots.push_back(position.find(root.node()));
  }

  expected = std::min(result.order.size(), most_expected);
  result.first_edge.reserve(result.order.size() + 1);
  result.edges.reserve(inputs.size());
  for (const auto& [begin, end] : ranges) {
    result.first_edge.push_back(static_cast<std::uint32_t>(result.edges.size()));
    for (std::uint32_t i = begin; i < end; ++i) result.edges.push_back(position.find(inputs[i]));
  }
  result.first_edge.push_back(static_cast<std::uint32_t>(result.edges.size()));
  return result;
}

}  // namespace wick
