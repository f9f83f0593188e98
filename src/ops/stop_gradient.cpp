#include "graph/record.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

const Op stop_gradient_op{
    .name = "stop_gradient",
    .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
    .view = [](const Layout& input, const Spec&, const Attrs&) -> std::optional<Layout> { return input; },
    .differentiable = false,
};

}  // namespace

Tensor stop_gradient(const Tensor& x, SourceLocation where) {
  return record(stop_gradient_op, {x}, {}, where);
}

}  // namespace wick
