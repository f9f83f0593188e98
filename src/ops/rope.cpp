#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) {
  const Spec& x = inputs[0];
  require_floating(x.dtype);
  if (x.shape.rank() != 4)
    throw ShapeError(fmt::format("x must be [batch, heads, length, d], not {}", x.shape.str()));
  if (x.shape[3] % 2 != 0)
    throw ShapeError(fmt::format("the last dimension must be even, it is {}", x.shape[3]));
  for (const Spec& table : inputs.subspan(1)) {
    if (table.dtype != DType::f32)
      throw DTypeError(fmt::format("cos and sin must be f32, not {}", name_of(table.dtype)));
    const Shape& s = table.shape;
    if (s.rank() != 3 || (s[0] != 1 && s[0] != x.shape[0]) || s[1] != x.shape[2] || s[2] != x.shape[3] / 2 ||
        !(s == inputs[1].shape))
      throw ShapeError(fmt::format("cos and sin must be [{} or 1, {}, {}], not {} and {}", x.shape[0],
                                   x.shape[2], x.shape[3] / 2, inputs[1].shape.str(), inputs[2].shape.str()));
  }
  return x;
}

Tensor decompose(Inputs inputs, const Attrs&) {
  const Tensor& x = inputs[0];
  const std::int64_t half = x.dim(3) / 2;
  const DType wide = promote(x.dtype(), DType::f32);
  const Tensor x1 = cast_to(slice(x, 3, 0, half), wide);
  const Tensor x2 = cast_to(slice(x, 3, half, 2 * half), wide);
  const Tensor cos = cast_to(expand_dims(inputs[1], 1), wide);
  const Tensor sin = cast_to(expand_dims(inputs[2], 1), wide);
  return cast_to(concat({x1 * cos - x2 * sin, x2 * cos + x1 * sin}, 3), x.dtype());
}

/// The inverse rotation. The tables are constants of the model: no gradient flows to them.
std::vector<Tensor> vjp(const VjpArgs& args) {
  std::vector<Tensor> gradients(3);
  if (args.needed[0]) gradients[0] = rope(args.grad, args.inputs[1], neg(args.inputs[2]));
  return gradients;
}

const Op rope_op{.name = "rope", .infer = infer, .decompose = decompose, .vjp = vjp};

}  // namespace

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, SourceLocation where) {
  return record(rope_op, {x, cos, sin}, {}, where);
}

}  // namespace wick
