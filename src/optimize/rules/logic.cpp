#include "optimize/simplify_rules.h"
#include "wick/ops/elementwise.h"

namespace wick {
namespace {

bool is_bool(const Graph& graph, std::uint32_t node) { return graph.nodes[node].spec.dtype == DType::bool_; }

}  // namespace

std::vector<Rule> logic_rules() {
  const Pattern x;
  const Pattern y;
  const Pattern flag = any(is_bool);
  const Pattern inner = any(is_bool);
  const Pattern known = number();
  return {
      {"not not b", op("logical_not", op("logical_not", flag)), [=](const Found& f) { return f[flag]; }},
      {"not x = y", op("logical_not", op("equal", x, y)),
       [=](const Found& f) { return not_equal(f[x], f[y]); }},
      {"not x != y", op("logical_not", op("not_equal", x, y)),
       [=](const Found& f) { return equal(f[x], f[y]); }},
      {"b and b", op("logical_and", flag, flag), [=](const Found& f) { return f[flag]; }},
      {"b or b", op("logical_or", flag, flag), [=](const Found& f) { return f[flag]; }},
      {"b and true", op("logical_and", flag, number(1)), [=](const Found& f) { return f[flag]; }},
      {"b or false", op("logical_or", flag, number(0)), [=](const Found& f) { return f[flag]; }},
      {"where(b, x, x)", op("where", flag, x, x), [=](const Found& f) { return f[x]; }},
      {"where(not b, x, y)", op("where", op("logical_not", flag), x, y),
       [=](const Found& f) { return where(f[flag], f[y], f[x]); }},
      {"where(a, where(b, x, c), c)", op("where", flag, op("where", inner, x, known), known),
       [=](const Found& f) { return where(logical_and(f[flag], f[inner]), f[x], f[known]); }},
      {"where(true or false, x, y)", op("where", known, x, y),
       [=](const Found& f) { return f.value(known) != 0 ? f[x] : f[y]; }},
  };
}

}  // namespace wick
