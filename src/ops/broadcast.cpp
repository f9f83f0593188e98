#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

bool stretches_to(const Shape& from, const Shape& to) {
  const int added = to.rank() - from.rank();
  for (int d = 0; d < from.rank(); ++d)
    if (added < 0 || (from[d] != 1 && from[d] != to[d + added])) return false;
  return true;
}

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const Shape target = attrs.as<ShapeAttrs>().shape();
  if (!stretches_to(inputs[0].shape, target))
    throw ShapeError(fmt::format("{} does not broadcast to {}", inputs[0].shape.str(), target.str()));
  return {target, inputs[0].dtype};
}

std::optional<Layout> view(const Layout& input, const Spec& output, const Attrs&) {
  Layout result{output.shape, {}, input.offset};
  const int added = output.shape.rank() - input.shape.rank();
  for (int d = 0; d < input.shape.rank(); ++d)
    if (input.shape[d] != 1)
      result.strides[static_cast<std::size_t>(d + added)] = input.strides[static_cast<std::size_t>(d)];
  return result;
}

const Op broadcast_to_op{
    .name = "broadcast_to",
    .infer = infer,
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      return {sum_to(args.grad, args.inputs[0].shape())};
    },
    .view = view,
    .describe = [](const Attrs& attrs) -> std::string {
      return "to " + attrs.as<ShapeAttrs>().shape().str();
    },
};

}  // namespace

Tensor broadcast_to(const Tensor& x, const Shape& shape, SourceLocation where) {
  if (x.defined() && x.shape() == shape) return x;
  return record(broadcast_to_op, {x}, ShapeAttrs::of(shape, DType{}), where);
}

}  // namespace wick
