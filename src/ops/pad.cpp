#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto a = attrs.as<PadAttrs>();
  const Spec& x = inputs[0];
  const int axis = checked_axis(x.shape, a.axis);
  constexpr std::int64_t most = std::int64_t{1} << 60;
  if (a.low < 0 || a.high < 0 || a.low > most || a.high > most)
    throw ArgumentError(
        fmt::format("the counts before and after, {} and {}, must be in [0, 2^60]; use slice to "
                    "remove elements",
                    a.low, a.high));
  require_representable(a.value, x.dtype);
  return {x.shape.with(axis, a.low + x.shape[axis] + a.high), x.dtype};
}

const Op pad_op{
    .name = "pad",
    .infer = infer,
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      const auto a = args.attrs.as<PadAttrs>();
      const int axis = static_cast<int>(a.axis);
      return {slice(args.grad, axis, a.low, a.low + args.inputs[0].dim(axis))};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      const auto a = attrs.as<PadAttrs>();
      return fmt::format("axis {}, {} before and {} after, value {}", a.axis, a.low, a.high, a.value);
    },
};

}  // namespace

Tensor pad(const Tensor& x, int axis, std::int64_t low, std::int64_t high, double value,
           SourceLocation where) {
  const std::int64_t front = front_axis(x, axis);
  const bool nothing = low == 0 && high == 0 && x.defined() && front >= 0 && front < x.rank();
  return nothing ? x : record(pad_op, {x}, PadAttrs{front, low, high, value}, where);
}

}  // namespace wick
