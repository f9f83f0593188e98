#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) {
  const Spec& a = inputs[0];
  const Spec& b = inputs[1];
  for (const Spec& operand : inputs)
    if (operand.dtype == DType::bool_)
      throw DTypeError("bool matrices have no product; cast them to a number first");
  require_same_dtype(inputs);
  const int ra = a.shape.rank();
  const int rb = b.shape.rank();
  if (ra < 2 || rb < 2)
    throw ShapeError("the operands need at least one dimension, a rank-0 tensor has none");
  if (a.shape[ra - 1] != b.shape[rb - 2])
    throw ShapeError(fmt::format("the inner dimensions differ: {} columns on the left, {} rows on the right",
                                 a.shape[ra - 1], b.shape[rb - 2]));
  const Shape batch = broadcast_shapes(a.shape.slice(0, ra - 2), b.shape.slice(0, rb - 2));
  return {batch.inserted(batch.rank(), a.shape[ra - 2]).inserted(batch.rank() + 1, b.shape[rb - 1]), a.dtype};
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& a = args.inputs[0];
  const Tensor& b = args.inputs[1];
  std::vector<Tensor> gradients(2);
  if (args.needed[0]) gradients[0] = sum_to(matmul(args.grad, transpose(b)), a.shape());
  if (args.needed[1]) gradients[1] = sum_to(matmul(transpose(a), args.grad), b.shape());
  return gradients;
}

double flops(InputSpecs inputs, const Spec& output, const Attrs&) {
  return 2.0 * static_cast<double>(output.shape.elements()) * static_cast<double>(inputs[0].shape.dim(-1));
}

const Op matmul_op{.name = "matmul", .infer = infer, .vjp = vjp, .flops = flops};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, SourceLocation where) {
  const DType dtype = promote(a.dtype(), b.dtype());
  Tensor left = cast_to(a, dtype, where);
  Tensor right = cast_to(b, dtype, where);
  const bool is_row = a.rank() == 1;
  const bool is_column = b.rank() == 1;
  if (is_row) left = expand_dims(left, 0, where);
  if (is_column) right = expand_dims(right, 1, where);

  // One matrix on the right for all on the left is one product of tall matrices; so is its gradient.
  const bool flatten = left.rank() > 2 && right.rank() == 2;
  const Shape rows = flatten ? left.shape().slice(0, left.rank() - 1) : Shape{};
  if (flatten) left = reshape(left, Shape{rows.elements(), left.dim(-1)}, where);

  Tensor product = record(matmul_op, {left, right}, {}, where);
  if (flatten) product = reshape(product, rows.inserted(rows.rank(), product.dim(-1)), where);
  if (is_column) product = squeeze(product, -1, where);
  if (is_row) product = squeeze(product, is_column ? -1 : -2, where);
  return product;
}

}  // namespace wick
