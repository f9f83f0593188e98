#include <numbers>

#include "optimize/patterns/reductions.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

/// x (1 + g) / 2 in every order of the factors.
std::vector<Pattern> halved_products(const Pattern& x, const Pattern& g) {
  const Pattern half = number(0.5);
  const Pattern grown = op("add", g, number(1));
  return {op("mul", op("mul", x, grown), half), op("mul", op("mul", x, half), grown),
          op("mul", x, op("mul", grown, half)), op("mul", x, op("add", op("mul", g, half), half))};
}

/// Constants are matched as a float holds them, so a dtype that holds more is left as it is.
bool fits_float(const Found& f) {
  return is_floating(f.root().spec.dtype) && size_of(f.root().spec.dtype) <= 4;
}

}  // namespace

std::vector<Rule> activation_patterns() {
  const Pattern x;
  const Pattern up;
  const Pattern one = number(1);
  const Pattern grown = op("add", op("exp", op("neg", x)), one);  // 1 + exp(-x)

  const Pattern factor = number();
  const Pattern divisor = number();
  const Pattern by_cdf = op("erf", either(op("mul", x, factor), op("div", x, divisor)));

  const Pattern cubic = number();
  const Pattern scale = number();
  const Pattern cube = either(op("mul", op("mul", op("square", x), x), cubic),
                              op("mul", op("mul", op("mul", x, cubic), x), x));
  const Pattern growth =
      op("add", either(op("mul", op("square", x), cubic), op("mul", op("mul", x, cubic), x)), one);
  const Pattern polynomial = either(op("mul", either(op("add", x, cube), op("mul", x, growth)), scale),
                                    op("mul", op("mul", x, scale), growth));
  const Pattern by_tanh = op("tanh", polynomial);

  std::vector<Rule> rules{
      {"sigmoid", op("div", one, grown), [=](const Found& f) { return sigmoid(f[x]); }},
      {"silu", op("mul", x, op("sigmoid", x)), [=](const Found& f) { return silu(f[x]); }},
      {"silu by division", op("div", x, grown), [=](const Found& f) { return silu(f[x]); }},
      {"swiglu", op("mul", op("silu", x), up),
       [=](const Found& f) {
         const bool fits = f.node(up).spec == f.node(x).spec && f.root().spec == f.node(x).spec;
         return fits ? swiglu(f[x], f[up]) : Tensor{};
       }},
  };
  for (const Pattern& root : halved_products(x, by_cdf))
    rules.push_back({"gelu", root, [=](const Found& f) {
                       const bool fits = f.has(factor) ? is_about(f.value(factor), 1 / std::numbers::sqrt2)
                                                       : is_about(f.value(divisor), std::numbers::sqrt2);
                       return fits && fits_float(f) ? gelu(f[x]) : Tensor{};
                     }});
  for (const Pattern& root : halved_products(x, by_tanh))
    rules.push_back({"gelu_tanh", root, [=](const Found& f) {
                       const bool fits =
                           is_about(f.value(cubic), 0.044715) &&
                           is_about(f.value(scale), std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
                       return fits && fits_float(f) ? gelu_tanh(f[x]) : Tensor{};
                     }});
  return rules;
}

}  // namespace wick
