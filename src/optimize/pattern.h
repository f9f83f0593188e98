#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "optimize/graph.h"

namespace wick {

/// A shape of a subgraph, in the vocabulary of ops: `op("mul", x, op("sigmoid", x))`. A pattern that occurs
/// more than once stands for one node. Patterns are values; copies stand for the same node.
class Pattern {
 public:
  using Condition = bool (*)(const Graph& graph, std::uint32_t node);

  /// Any node.
  Pattern();

  struct Body;
  const Body& body() const noexcept { return *body_; }
  explicit Pattern(std::shared_ptr<const Body> body) : body_(std::move(body)) {}

 private:
  std::shared_ptr<const Body> body_;
};

struct Pattern::Body {
  enum class Kind : std::uint8_t { any, number, op, either };
  Kind kind = Kind::any;
  Condition condition = nullptr;  // of `any`
  std::optional<double> value;    // of `number`
  std::string_view name;          // of `op`
  bool commutes = false;
  std::vector<Pattern> parts;  // operands, or alternatives
};

/// A node for which `condition` holds.
Pattern any(Pattern::Condition condition);
/// A tensor whose elements all are one number known from the graph's structure.
Pattern number();
/// The same of this value, of which there may be several nodes; -0 and 0 differ.
Pattern number(double value);
/// A node of this op. The operands of add, mul, minimum, maximum, equal, not_equal, logical_and and
/// logical_or may come in either order.
Pattern op(std::string_view name, std::vector<Pattern> operands);
template <typename... P>
Pattern op(std::string_view name, const Pattern& first, const P&... others) {
  return op(name, std::vector<Pattern>{first, others...});
}
/// The same in this order only.
Pattern ordered(std::string_view name, std::vector<Pattern> operands);
/// The first alternative that fits.
Pattern either(const Pattern& a, const Pattern& b);
/// `x`, or a cast of it.
Pattern maybe_cast(const Pattern& x);
/// `x`, or a reshape of it.
Pattern maybe_reshaped(const Pattern& x);

/// The number that all elements of a node are, as its dtype holds it; nothing where the structure does not
/// say.
std::optional<double> number_of(const Graph& graph, std::uint32_t node);

/// What a pattern was found to be. Tensors stand for nodes in the expression that replaces the root.
class Found {
 public:
  struct Binding {
    const Pattern::Body* pattern;
    std::uint32_t node;
  };

  Found(const Graph& graph, std::vector<Binding> bindings);

  const Graph& graph() const noexcept { return *graph_; }
  bool has(const Pattern& pattern) const;
  std::uint32_t position(const Pattern& pattern) const;
  const GraphNode& node(const Pattern& pattern) const { return graph_->nodes[position(pattern)]; }
  /// Whether it lies row by row without a copy.
  bool is_row_major(const Pattern& pattern) const { return graph_->is_row_major(position(pattern)); }
  /// The root: the node that is replaced.
  const GraphNode& root() const { return graph_->nodes[bindings_.front().node]; }
  double value(const Pattern& number) const;
  /// A stand-in for the pattern's node, or for any node of the graph.
  Tensor operator[](const Pattern& pattern) const { return tensor(position(pattern)); }
  Tensor tensor(std::uint32_t node) const;
  std::span<const Binding> bindings() const noexcept { return bindings_; }

 private:
  friend std::optional<std::uint32_t> replace(Rewriter&, const Found&,
                                              const std::function<Tensor(const Found&)>&,
                                              const std::function<std::uint32_t(std::uint32_t)>&);
  struct StandIn {
    std::uint32_t node;
    Tensor tensor;
  };
  const Graph* graph_;
  std::vector<Binding> bindings_;
  mutable std::vector<StandIn> stand_ins_;
};

/// Matches `pattern` at `node`.
std::optional<Found> find(const Graph& graph, std::uint32_t node, const Pattern& pattern);

/// The expression that takes a match's place; an empty tensor declines. A result of a smaller shape is
/// broadcast to that of the node.
using Replacement = std::function<Tensor(const Found&)>;

/// Appends what `replacement` records to `out`, where node i of the matched graph is `mapped(i)`; returns the
/// position of the result, or nothing when it declined or its dtype is not that of the node.
std::optional<std::uint32_t> replace(Rewriter& out, const Found& found, const Replacement& replacement,
                                     const std::function<std::uint32_t(std::uint32_t)>& mapped);

/// A rewrite: how it reads, what it looks for, what takes its place.
struct Rule {
  std::string_view name;
  Pattern pattern;
  Replacement replacement;
};

}  // namespace wick
