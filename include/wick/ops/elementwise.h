#pragma once

#include <concepts>
#include <cstdint>

#include "wick/tensor.h"

namespace wick {

/// An operand of an elementwise op: a tensor, or a number that takes the other operand's dtype (NumPy 2's
/// rule for Python scalars: a fractional number with an integer tensor gives f64). Carries the caller's
/// location.
class Operand {
 public:
  Operand(const Tensor& tensor,
          SourceLocation where = SourceLocation::current())  // NOLINT: implicit by design
      : tensor_(&tensor), where_(where) {}
  template <std::floating_point T>
  Operand(T value, SourceLocation where = SourceLocation::current())  // NOLINT: implicit by design
      : value_(static_cast<double>(value)), where_(where) {}
  template <std::integral T>
  Operand(T value, SourceLocation where = SourceLocation::current())  // NOLINT: implicit by design
      : value_(static_cast<double>(value)), integral_(true), where_(where) {}

  const Tensor* tensor() const noexcept { return tensor_; }
  double value() const noexcept { return value_; }
  bool integral() const noexcept { return integral_; }
  SourceLocation where() const noexcept { return where_; }

 private:
  const Tensor* tensor_ = nullptr;
  double value_ = 0;
  bool integral_ = false;
  SourceLocation where_;
};

// Binary ops. Shapes broadcast as in NumPy, dtypes promote by `promote`; comparisons and logic give bool.
// Each throws ShapeError when the shapes do not broadcast.

Tensor add(const Operand& a, const Operand& b);
Tensor sub(const Operand& a, const Operand& b);
Tensor mul(const Operand& a, const Operand& b);
/// True division; integer tensors are cast to f64 first, as NumPy does.
Tensor div(const Operand& a, const Operand& b);
/// a to the power b. Integer tensors: b must not be negative.
Tensor pow(const Operand& a, const Operand& b);
/// The smaller / larger element; NaN if either is NaN. The gradient of a tie is shared half and half.
Tensor minimum(const Operand& a, const Operand& b);
Tensor maximum(const Operand& a, const Operand& b);
Tensor equal(const Operand& a, const Operand& b);
Tensor not_equal(const Operand& a, const Operand& b);
Tensor less(const Operand& a, const Operand& b);
Tensor less_equal(const Operand& a, const Operand& b);
Tensor greater(const Operand& a, const Operand& b);
Tensor greater_equal(const Operand& a, const Operand& b);
/// Nonzero counts as true.
Tensor logical_and(const Operand& a, const Operand& b);
Tensor logical_or(const Operand& a, const Operand& b);

inline Tensor operator+(const Operand& a, const Operand& b) { return add(a, b); }
inline Tensor operator-(const Operand& a, const Operand& b) { return sub(a, b); }
inline Tensor operator*(const Operand& a, const Operand& b) { return mul(a, b); }
inline Tensor operator/(const Operand& a, const Operand& b) { return div(a, b); }

// Unary ops. Same shape; integer tensors of exp ... gelu are cast to f64 first (as NumPy does).

Tensor neg(const Operand& x);
Tensor abs(const Operand& x);
/// -1, 0 or 1; the gradient is zero.
Tensor sign(const Operand& x);
Tensor exp(const Operand& x);
Tensor log(const Operand& x);
Tensor sqrt(const Operand& x);
/// 1 / sqrt(x)
Tensor rsqrt(const Operand& x);
Tensor sin(const Operand& x);
Tensor cos(const Operand& x);
Tensor tanh(const Operand& x);
/// 1 / (1 + exp(-x))
Tensor sigmoid(const Operand& x);
/// Gauss error function.
Tensor erf(const Operand& x);
Tensor square(const Operand& x);
Tensor logical_not(const Operand& x);
/// bool: neither NaN nor infinite.
Tensor is_finite(const Operand& x);
inline Tensor operator-(const Operand& x) { return neg(x); }

/// max(x, 0); the gradient at 0 is 0.
Tensor relu(const Operand& x);
/// x sigmoid(x) (Elfwing et al. 2017, https://arxiv.org/abs/1702.03118)
Tensor silu(const Operand& x);
/// x Phi(x), with erf (Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415)
Tensor gelu(const Operand& x);
/// Its tanh approximation, same paper.
Tensor gelu_tanh(const Operand& x);
/// x limited to [low, high].
Tensor clamp(const Operand& x, double low, double high);

/// a where `condition` (bool) holds, else b. All three broadcast together; a and b promote.
Tensor where(const Tensor& condition, const Operand& a, const Operand& b);

/// `x` converted to `dtype`: floats to integers truncate toward zero and saturate (NaN gives 0), anything to
/// bool is "not equal zero".
Tensor cast(const Tensor& x, DType dtype, SourceLocation where = SourceLocation::current());

}  // namespace wick
