#include "optimize/simplify.h"

#include <unordered_map>

#include "optimize/simplify_rules.h"

namespace wick {
namespace {

/// The rules by the op at their root; those that may start at any op are listed with every one.
class RuleTable {
 public:
  RuleTable() {
    for (std::vector<Rule> (*list)() : {&arithmetic_rules, &logic_rules, &cast_rules, &movement_rules})
      for (Rule& rule : list()) rules_.push_back(std::move(rule));
    for (const Rule& rule : rules_)
      (rule.pattern.body().name.empty() ? anywhere_ : by_op_[rule.pattern.body().name]).push_back(&rule);
  }

  /// The position of what takes the place of the node at `at`, or `at` when no rule fits.
  std::uint32_t apply(Rewriter& out, std::uint32_t at) const {
    const Op* op = out.result().nodes[at].op;
    if (!op) return at;
    if (const auto list = by_op_.find(op->name); list != by_op_.end())
      for (const Rule* rule : list->second)
        if (const auto result = try_rule(*rule, out, at)) return *result;
    for (const Rule* rule : anywhere_)
      if (const auto result = try_rule(*rule, out, at)) return *result;
    return at;
  }

 private:
  static std::optional<std::uint32_t> try_rule(const Rule& rule, Rewriter& out, std::uint32_t at) {
    const std::optional<Found> found = find(out.result(), at, rule.pattern);
    if (!found) return std::nullopt;
    return replace(out, *found, rule.replacement, [](std::uint32_t i) { return i; });
  }

  std::vector<Rule> rules_;
  std::unordered_map<std::string_view, std::vector<const Rule*>> by_op_;
  std::vector<const Rule*> anywhere_;
};

/// Every rule makes a graph smaller or cheaper, so they come to an end; this bounds what a mistake could do.
constexpr int most_rewrites_of_a_node = 64;

}  // namespace

Graph simplify(const Graph& graph, const PassContext&) {
  static const RuleTable& table = *new RuleTable;  // never destroyed: workers may outlive static objects
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    std::uint32_t at = out.append(out.mapped_copy(i));
    for (int n = 0; n < most_rewrites_of_a_node; ++n) {
      const std::uint32_t next = table.apply(out, at);
      if (next == at) break;
      at = next;
    }
    out.map(i, at);
  }
  return out.finish();
}

}  // namespace wick
