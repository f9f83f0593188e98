#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/rounding.h"
#include "ops/helpers.h"
#include "optimize/simplify_rules.h"
#include "wick/ops/elementwise.h"

namespace wick {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

bool is_real(const Graph& graph, std::uint32_t node) { return is_floating(graph.nodes[node].spec.dtype); }
bool is_whole(const Graph& graph, std::uint32_t node) { return is_integer(graph.nodes[node].spec.dtype); }
bool is_numeric(const Graph& graph, std::uint32_t node) {
  return graph.nodes[node].spec.dtype != DType::bool_;
}

/// Whether no element can be -0, by the op that made it.
bool is_never_negative_zero(const Graph& graph, std::uint32_t node) {
  constexpr std::array<std::string_view, 5> ops{"exp", "abs", "square", "sigmoid", "rsqrt"};
  const Op* op = graph.nodes[node].op;
  return op && std::find(ops.begin(), ops.end(), op->name) != ops.end();
}

bool is_no_number(const Graph& graph, std::uint32_t node) { return !number_of(graph, node); }

bool is_power_of_two(double value) {
  int exponent = 0;
  return std::abs(std::frexp(value, &exponent)) == 0.5;
}

/// 1 / c where dividing by c is multiplying by it: powers of two whose reciprocal is a normal number of every
/// floating dtype.
Tensor times_reciprocal(const Tensor& x, double c) {
  if (!is_power_of_two(c) || std::abs(c) < 0x1p-14 || std::abs(c) > 0x1p14) return {};
  return x * (1 / c);
}

/// (x a) b as x (a b): powers of two of at least 1 scale exactly, and overflow alike.
Tensor scaled_at_once(const Tensor& x, double a, double b) {
  const bool exact = is_power_of_two(a) && is_power_of_two(b) && std::abs(a) >= 1 && std::abs(b) >= 1;
  if (!exact || std::isinf(rounded_to(a * b, x.dtype()))) return {};
  return x * (a * b);
}

/// `x` with an integer number, where double holds it exactly and the dtype takes it.
Tensor with_integer(Tensor (*op)(const Operand&, const Operand&), const Tensor& x, double value) {
  const double limit = x.dtype() == DType::u8 ? 0x1p8 : x.dtype() == DType::i32 ? 0x1p31 : 0x1p53;
  const double low = x.dtype() == DType::u8 ? 0 : -limit;
  if (!(value >= low && value < limit)) return {};
  return op(x, constant(value, x.dtype()));
}

template <Tensor (*function)(const Operand&)>
Replacement unary(const Pattern& x) {
  return [x](const Found& f) { return function(f[x]); };
}

template <Tensor (*function)(const Operand&, const Operand&)>
Replacement binary(const Pattern& x, const Pattern& y) {
  return [x, y](const Found& f) { return function(f[x], f[y]); };
}

Replacement keep(const Pattern& x) {
  return [x](const Found& f) { return f[x]; };
}

}  // namespace

std::vector<Rule> arithmetic_rules() {
  const Pattern x;
  const Pattern y;
  const Pattern real = any(is_real);
  const Pattern whole = any(is_whole);
  const Pattern numeric = any(is_numeric);
  const Pattern tensor = any(is_no_number);
  const Pattern no_negative_zero = any(is_never_negative_zero);
  const Pattern c = number();
  const Pattern d = number();
  const Pattern one = number(1);
  return {
      {"c + x = x + c", ordered("add", {c, tensor}), binary<add>(tensor, c)},
      {"c x = x c", ordered("mul", {c, tensor}), binary<mul>(tensor, c)},
      {"min(c, x) = min(x, c)", ordered("minimum", {c, tensor}), binary<minimum>(tensor, c)},
      {"max(c, x) = max(x, c)", ordered("maximum", {c, tensor}), binary<maximum>(tensor, c)},

      {"x + 0, integers", op("add", whole, number(0)), keep(whole)},
      {"x + -0", op("add", x, number(-0.0)), keep(x)},
      {"x + 0 of what is never -0", op("add", no_negative_zero, number(0)), keep(no_negative_zero)},
      {"x - 0", op("sub", x, number(0)), keep(x)},
      {"x - x, integers", op("sub", whole, whole),
       [=](const Found& f) { return constant(0, f.root().spec.dtype); }},
      {"x + -y", op("add", x, op("neg", y)), binary<sub>(x, y)},
      {"x - -y", op("sub", x, op("neg", y)), binary<add>(x, y)},
      {"(x + c) + d, integers", op("add", op("add", whole, c), d),
       [=](const Found& f) { return with_integer(add, f[whole], f.value(c) + f.value(d)); }},

      {"x 1", op("mul", x, one), keep(x)},
      {"x -1", op("mul", x, number(-1)), unary<neg>(x)},
      {"x 0, integers", op("mul", whole, number(0)),
       [=](const Found& f) { return constant(0, f.root().spec.dtype); }},
      {"-x -y", op("mul", op("neg", x), op("neg", y)), binary<mul>(x, y)},
      {"x x", op("mul", numeric, numeric), unary<square>(numeric)},
      {"(x 2^a) 2^b", op("mul", op("mul", real, c), d),
       [=](const Found& f) { return scaled_at_once(f[real], f.value(c), f.value(d)); }},
      {"(x c) d, integers", op("mul", op("mul", whole, c), d),
       [=](const Found& f) { return with_integer(mul, f[whole], f.value(c) * f.value(d)); }},

      {"x / 1", op("div", x, one), keep(x)},
      {"x / 2^a", op("div", x, c), [=](const Found& f) { return times_reciprocal(f[x], f.value(c)); }},
      {"-x / -y", op("div", op("neg", x), op("neg", y)), binary<div>(x, y)},
      {"1 / sqrt(x)", op("div", one, op("sqrt", x)), unary<rsqrt>(x)},

      {"x^0", op("pow", x, number(0)), [=](const Found& f) { return constant(1, f.root().spec.dtype); }},
      {"x^1", op("pow", x, one), keep(x)},
      {"x^2, one rounding", op("pow", x, number(2)), unary<square>(x)},
      {"x^3, two roundings", op("pow", real, number(3)),
       [=](const Found& f) {
         const Tensor base = f[real];
         return size_of(base.dtype()) < 4 ? Tensor{} : square(base) * base;
       }},
      {"x^-1", op("pow", real, number(-1)), [=](const Found& f) { return 1 / f[real]; }},

      {"--x", op("neg", op("neg", x)), keep(x)},
      {"|-x|", op("abs", op("neg", x)), unary<wick::abs>(x)},
      {"||x||", op("abs", op("abs", x)), unary<wick::abs>(x)},
      {"(-x)^2", op("square", op("neg", x)), unary<square>(x)},
      {"|x|^2", op("square", op("abs", numeric)), unary<square>(numeric)},

      {"max(x, x)", op("maximum", x, x), keep(x)},
      {"min(x, x)", op("minimum", x, x), keep(x)},
      {"max(x, -inf)", op("maximum", x, number(-infinity)), keep(x)},
      {"min(x, inf)", op("minimum", x, number(infinity)), keep(x)},
  };
}

}  // namespace wick
