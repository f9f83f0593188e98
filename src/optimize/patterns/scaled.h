#pragma once

#include "optimize/pattern.h"

namespace wick {

/// A pattern, or its product with a number, or its quotient by one.
struct Scaled {
  explicit Scaled(const Pattern& p) : whole(either(op("mul", p, factor), either(op("div", p, divisor), p))) {}
  double scale(const Found& f) const {
    if (f.has(factor)) return f.value(factor);
    return f.has(divisor) ? 1 / f.value(divisor) : 1;
  }
  Pattern factor = number();
  Pattern divisor = number();
  Pattern whole;
};

}  // namespace wick
