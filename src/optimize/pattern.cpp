#include "optimize/pattern.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core/rounding.h"
#include "graph/record.h"
#include "ops/attributes.h"
#include "optimize/record_into.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

using Body = Pattern::Body;

Pattern make(Body body) { return Pattern(std::make_shared<const Body>(std::move(body))); }

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// Depth-first search with backtracking. Goals that are still open are a list through the callers' frames, so
/// that matching allocates nothing; recursion is as deep as a pattern is large.
class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph) {}

  bool solve(const Pattern& pattern, std::uint32_t node) {
    const Goal goal{&pattern, node, nullptr};
    return solve(&goal);
  }
  std::vector<Found::Binding> take_bindings() { return std::move(bindings_); }

 private:
  struct Goal {
    const Pattern* pattern;
    std::uint32_t node;
    const Goal* next;
  };

  bool solve(const Goal* goal) {
    if (!goal) return true;
    const Body& body = goal->pattern->body();
    if (!body.value)
      for (const Found::Binding& bound : bindings_)
        if (bound.pattern == &body) return bound.node == goal->node && solve(goal->next);
    const std::size_t before = bindings_.size();
    bindings_.push_back({&body, goal->node});
    if (holds(body, *goal)) return true;
    bindings_.resize(before, {nullptr, 0});
    return false;
  }

  bool holds(const Body& body, const Goal& goal) {
    switch (body.kind) {
      case Body::Kind::any: return (!body.condition || body.condition(graph_, goal.node)) && solve(goal.next);
      case Body::Kind::number: {
        const std::optional<double> value = number_of(graph_, goal.node);
        return value && (!body.value || same_bits(*value, *body.value)) && solve(goal.next);
      }
      case Body::Kind::either:
        return std::any_of(body.parts.begin(), body.parts.end(), [&](const Pattern& alternative) {
          const Goal instead{&alternative, goal.node, goal.next};
          return solve(&instead);
        });
      case Body::Kind::op: return holds_op(body, goal);
    }
    return false;
  }

  bool holds_op(const Body& body, const Goal& goal) {
    const GraphNode& node = graph_.nodes[goal.node];
    if (!node.op || node.op->name != body.name || node.inputs.size() != body.parts.size()) return false;
    std::array<Goal, 4> goals{};
    if (body.parts.size() > goals.size()) return false;
    const auto try_order = [&](bool swapped) {
      const Goal* next = goal.next;
      for (std::size_t k = body.parts.size(); k-- > 0;) {
        goals[k] = {&body.parts[k], node.inputs[swapped ? body.parts.size() - 1 - k : k], next};
        next = &goals[k];
      }
      return solve(next);
    };
    return try_order(false) || (body.commutes && try_order(true));
  }

  const Graph& graph_;
  std::vector<Found::Binding> bindings_;
};

}  // namespace

Pattern::Pattern() : body_(std::make_shared<const Body>()) {}

Pattern any(Pattern::Condition condition) {
  Body body;
  body.condition = condition;
  return make(std::move(body));
}

Pattern number() {
  Body body;
  body.kind = Body::Kind::number;
  return make(std::move(body));
}

Pattern number(double value) {
  Body body;
  body.kind = Body::Kind::number;
  body.value = value;
  return make(std::move(body));
}

Pattern ordered(std::string_view name, std::vector<Pattern> operands) {
  Body body;
  body.kind = Body::Kind::op;
  body.name = name;
  body.parts = std::move(operands);
  return make(std::move(body));
}

Pattern op(std::string_view name, std::vector<Pattern> operands) {
  constexpr std::array<std::string_view, 8> commutative{"add",   "mul",       "minimum",     "maximum",
                                                        "equal", "not_equal", "logical_and", "logical_or"};
  Body body;
  body.kind = Body::Kind::op;
  body.name = name;
  body.commutes = std::find(commutative.begin(), commutative.end(), name) != commutative.end();
  body.parts = std::move(operands);
  return make(std::move(body));
}

Pattern either(const Pattern& a, const Pattern& b) {
  Body body;
  body.kind = Body::Kind::either;
  body.parts = {a, b};
  return make(std::move(body));
}

Pattern maybe_cast(const Pattern& x) { return either(op("cast", x), x); }
Pattern maybe_reshaped(const Pattern& x) { return either(op("reshape", x), x); }

std::optional<double> number_of(const Graph& graph, std::uint32_t node) {
  const GraphNode* part = &graph.nodes[node];
  while (part->op && (part->op->name == "broadcast_to" || part->op->name == "reshape"))
    part = &graph.nodes[part->inputs[0]];
  if (!part->op || part->op->name != "constant") return std::nullopt;
  const auto attrs = part->attrs.as<ConstantAttrs>();
  return rounded_to(attrs.value, attrs.type());
}

Found::Found(const Graph& graph, std::vector<Binding> bindings)
    : graph_(&graph), bindings_(std::move(bindings)) {}

bool Found::has(const Pattern& pattern) const {
  return std::any_of(bindings_.begin(), bindings_.end(),
                     [&](const Binding& b) { return b.pattern == &pattern.body(); });
}

std::uint32_t Found::position(const Pattern& pattern) const {
  for (const Binding& bound : bindings_)
    if (bound.pattern == &pattern.body()) return bound.node;
  throw InternalError("a rule asks for a pattern that it did not match");
}

double Found::value(const Pattern& number) const {
  return number_of(*graph_, position(number)).value();  // NOLINT(bugprone-unchecked-optional-access)
}

Tensor Found::tensor(std::uint32_t node) const {
  for (const StandIn& known : stand_ins_)
    if (known.node == node) return known.tensor;
  stand_ins_.push_back({node, stand_in(graph_->nodes[node].spec, graph_->device)});
  return stand_ins_.back().tensor;
}

std::optional<Found> find(const Graph& graph, std::uint32_t node, const Pattern& pattern) {
  Matcher matcher(graph);
  if (!matcher.solve(pattern, node)) return std::nullopt;
  return Found(graph, matcher.take_bindings());
}

std::optional<std::uint32_t> replace(Rewriter& out, const Found& found, const Replacement& replacement,
                                     const std::function<std::uint32_t(std::uint32_t)>& mapped) {
  const LazyScope lazy;
  const Spec spec = found.root().spec;  // copies: what is appended moves the nodes
  const SourceLocation where = found.root().where;
  const LocationScope location(where);
  Tensor result = replacement(found);
  if (!result.defined() || result.dtype() != spec.dtype) return std::nullopt;
  if (!(result.shape() == spec.shape)) result = broadcast_to(result, spec.shape);
  std::vector<Tensor> stand_ins;
  std::vector<std::uint32_t> positions;
  for (const Found::StandIn& known : found.stand_ins_) {
    stand_ins.push_back(known.tensor);
    positions.push_back(mapped(known.node));
  }
  return append_recorded(out, result, stand_ins, positions, where);
}

}  // namespace wick
