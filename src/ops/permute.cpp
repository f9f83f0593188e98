#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

int source(const PermuteAttrs& attrs, int axis) { return attrs.order[static_cast<std::size_t>(axis)]; }

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto permutation = attrs.as<PermuteAttrs>();
  Spec result = inputs[0];
  for (int d = 0; d < result.shape.rank(); ++d)
    result.shape = result.shape.with(d, inputs[0].shape.dim(source(permutation, d)));
  return result;
}

std::optional<Layout> view(const Layout& input, const Spec& output, const Attrs& attrs) {
  const auto permutation = attrs.as<PermuteAttrs>();
  Layout result{output.shape, {}, input.offset};
  for (int d = 0; d < output.shape.rank(); ++d)
    result.strides[static_cast<std::size_t>(d)] =
        input.strides[static_cast<std::size_t>(source(permutation, d))];
  return result;
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const auto permutation = args.attrs.as<PermuteAttrs>();
  std::vector<int> inverse(static_cast<std::size_t>(args.grad.rank()));
  for (int d = 0; d < args.grad.rank(); ++d) inverse[static_cast<std::size_t>(source(permutation, d))] = d;
  return {permute(args.grad, inverse)};
}

const Op permute_op{
    .name = "permute",
    .infer = infer,
    .vjp = vjp,
    .view = view,
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("order {}", attrs.as<PermuteAttrs>().order);
    },
};

}  // namespace

Tensor permute(const Tensor& x, const std::vector<int>& permutation, SourceLocation where) {
  PermuteAttrs attrs{};
  if (!x.defined()) return record(permute_op, {x}, attrs, where);  // which reports it
  const auto rank = static_cast<std::size_t>(x.rank());
  std::uint32_t seen = 0;
  bool valid = permutation.size() == rank;
  bool moves = false;
  for (std::size_t d = 0; d < rank && valid; ++d) {
    const std::int64_t axis = front_axis(x, permutation[d]);
    valid = axis >= 0 && axis < x.rank() && !((seen >> axis) & 1u);
    if (!valid) break;
    seen |= 1u << axis;
    attrs.order[d] = static_cast<std::int8_t>(axis);
    moves = moves || static_cast<std::size_t>(axis) != d;
  }
  if (!valid)
    refuse<ShapeError>(
        "permute", x,
        fmt::format("({}) is not a permutation of the {} dimensions", fmt::join(permutation, ", "), x.rank()),
        where);
  return moves ? record(permute_op, {x}, attrs, where) : x;
}

Tensor transpose(const Tensor& x, int axis1, int axis2, SourceLocation where) {
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  std::iota(order.begin(), order.end(), 0);
  for (int axis : {axis1, axis2})
    if (axis < -x.rank() || axis >= x.rank())
      refuse<ShapeError>("transpose", x, fmt::format("axis {} is out of range", axis), where);
  std::swap(order[static_cast<std::size_t>(front_axis(x, axis1))],
            order[static_cast<std::size_t>(front_axis(x, axis2))]);
  return permute(x, order, where);
}

}  // namespace wick
