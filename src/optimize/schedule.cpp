#include "optimize/schedule.h"

#include <algorithm>
#include <numeric>

// Nodes come in the order of a depth-first walk from the outputs: each is computed when the first user needs
// it. For gradients that is late: the walk goes down to the first layer at once, and what the gradients of
// the later layers' weights are computed from is kept until the end. So a second order is made, by the same
// kind of walk from other starting points: the nodes that are smaller than what they are computed from, those
// that can be computed early first. The order that holds fewer bytes at once is taken.
namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

class Scheduler {
 public:
  explicit Scheduler(const Graph& graph)
      : graph_(graph), buffer_(graph.nodes.size(), none), read_by_(graph.nodes.size(), 0) {
    std::vector<char> is_result(graph.nodes.size(), 0);
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
      const GraphNode& node = graph.nodes[i];
      if (!node.op) continue;
      if (node.op->view)
        buffer_[i] = buffer_[node.inputs[0]];
      else
        buffer_[i] = i;
    }
    for (std::uint32_t o : graph.outputs)
      if (buffer_[o] != none) is_result[buffer_[o]] = 1;
    // Results are there from the beginning to the end, in any order.
    for (std::uint32_t& b : buffer_)
      if (b != none && is_result[b]) b = none;
  }

  std::vector<std::uint32_t> order_as_given() const {
    std::vector<std::uint32_t> order(graph_.nodes.size());
    std::iota(order.begin(), order.end(), 0U);
    return order;
  }

  std::vector<std::uint32_t> order_from_reductions() {
    const std::vector<std::uint32_t> depth = depths();
    std::vector<std::uint32_t> starts;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (reduces(i)) starts.push_back(i);
    std::stable_sort(starts.begin(), starts.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return depth[a] < depth[b]; });
    std::vector<std::uint32_t> order;
    std::vector<char> seen(graph_.nodes.size(), 0);
    for (std::uint32_t start : starts) walk_from(start, seen, order);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) walk_from(i, seen, order);
    return order;
  }

  /// The most bytes of temporaries that are held at once.
  std::uint64_t peak_bytes(const std::vector<std::uint32_t>& order) {
    std::vector<std::uint32_t> uses_left(graph_.nodes.size(), 0);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      for (std::uint32_t b : buffers_read(i)) ++uses_left[b];
    std::uint64_t held = 0;
    std::uint64_t most = 0;
    for (std::uint32_t i : order) {
      if (buffer_[i] == i) held += bytes_of(i);
      most = std::max(most, held);
      for (std::uint32_t b : buffers_read(i))
        if (--uses_left[b] == 0) held -= bytes_of(b);
    }
    return most;
  }

 private:
  std::uint64_t bytes_of(std::uint32_t i) const {
    const Spec& spec = graph_.nodes[i].spec;
    return static_cast<std::uint64_t>(spec.shape.elements()) * size_of(spec.dtype);
  }

  /// The temporaries that a step reads, each once. A view reads nothing.
  SmallVector<std::uint32_t, 8> buffers_read(std::uint32_t i) {
    SmallVector<std::uint32_t, 8> buffers;
    ++reader_;
    const GraphNode& node = graph_.nodes[i];
    if (!node.op || node.op->view) return buffers;
    for (std::uint32_t input : node.inputs) {
      const std::uint32_t b = buffer_[input];
      if (b == none || read_by_[b] == reader_) continue;
      read_by_[b] = reader_;
      buffers.push_back(b);
    }
    return buffers;
  }

  bool reduces(std::uint32_t i) {
    std::uint64_t read = 0;
    for (std::uint32_t b : buffers_read(i)) read += bytes_of(b);
    return bytes_of(i) < read;
  }

  /// Steps on the longest way from data to each node.
  std::vector<std::uint32_t> depths() const {
    std::vector<std::uint32_t> depth(graph_.nodes.size(), 0);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      for (std::uint32_t input : graph_.nodes[i].inputs) depth[i] = std::max(depth[i], depth[input]);
      if (buffer_[i] == i) ++depth[i];
    }
    return depth;
  }

  void walk_from(std::uint32_t start, std::vector<char>& seen, std::vector<std::uint32_t>& order) const {
    struct Frame {
      std::uint32_t node;
      std::size_t next;
    };
    std::vector<Frame> stack;
    const auto enter = [&](std::uint32_t i) {
      if (seen[i]) return;
      seen[i] = 1;
      stack.push_back({i, 0});
    };
    enter(start);
    while (!stack.empty()) {
      Frame& top = stack.back();
      const auto& inputs = graph_.nodes[top.node].inputs;
      if (top.next < inputs.size()) {
        enter(inputs[top.next++]);
      } else {
        order.push_back(top.node);
        stack.pop_back();
      }
    }
  }

  const Graph& graph_;
  std::vector<std::uint32_t> buffer_;   // the node whose buffer a value lies in; none for data and results
  std::vector<std::uint32_t> read_by_;  // of each buffer, the last step that `buffers_read` counted it for
  std::uint32_t reader_ = 0;
};

}  // namespace

Graph schedule(const Graph& graph, const PassContext&) {
  Scheduler scheduler(graph);
  const std::vector<std::uint32_t> order = scheduler.order_from_reductions();
  if (scheduler.peak_bytes(order) >= scheduler.peak_bytes(scheduler.order_as_given())) return graph;
  Rewriter out(graph);
  for (std::uint32_t i : order) out.map(i, out.append(out.mapped_copy(i)));
  return out.finish();
}

}  // namespace wick
