#pragma once

#include <span>

#include "graph/op.h"
#include "wick/ops/elementwise.h"

// What several op files share. `where` matters only outside vjp and decompose: in those the recorder already
// points at the user's line.
namespace wick {

/// A rank-0 tensor recorded as part of the graph's structure. Throws ArgumentError when an integer dtype
/// cannot hold `value`.
Tensor constant(double value, DType dtype, SourceLocation where = {});

/// `x` in `dtype`: x itself when it already is.
Tensor cast_to(const Tensor& x, DType dtype, SourceLocation where = {});

/// The dtype that a number takes beside a tensor of `dtype` (NumPy 2's rule for Python scalars).
DType dtype_beside(DType dtype, const Operand& number) noexcept;

/// A number as a node that this thread's expressions share; it stays until the thread's next call. Null in
/// eager mode, where each number is a node of its own, for it gets a value.
const Tensor* shared_number(double value, DType dtype, SourceLocation where);

/// The operand as a tensor; a number alone becomes i64 or f64.
Tensor to_tensor(const Operand& operand);

/// The same in a floating dtype: bool and integers become f64, what NumPy does before it takes a root or an
/// exponential.
Tensor floating_tensor(const Operand& operand);

/// Two operands in their common dtype. Empty tensors pass through, for the recorder to report.
struct Promoted {
  Tensor a;
  Tensor b;
};
Promoted promote_operands(const Operand& a, const Operand& b);

/// `x` summed over the dimensions that broadcasting `shape` to x's shape added or stretched: turns the
/// gradient of a broadcast tensor into that of the tensor.
Tensor sum_to(const Tensor& x, const Shape& shape, SourceLocation where = {});

/// Throws DTypeError "it takes floating-point dtypes, not i64" for anything else.
void require_floating(DType dtype);

/// Throws ArgumentError when `dtype` is an integer type that cannot hold `value`.
void require_representable(double value, DType dtype);

/// Op::flops of reductions: each element of input 0 is taken in once.
double one_an_input_element(InputSpecs inputs, const Spec& output, const Attrs& attrs);

/// Bytes of a tensor of this spec, row-major.
double bytes_of(const Spec& spec);

/// Throws DTypeError when the dtypes of the inputs differ.
void require_same_dtype(InputSpecs inputs);

}  // namespace wick
