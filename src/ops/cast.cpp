#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"

namespace wick {
namespace {

constexpr Op cast_op{
    .name = "cast",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      return {inputs[0].shape, attrs.as<CastAttrs>().type()};
    },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      return {cast_to(args.grad, args.inputs[0].dtype())};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      return "to " + std::string(name_of(attrs.as<CastAttrs>().type()));
    },
    .flops = [](InputSpecs, const Spec&, const Attrs&) { return 0.0; },
    .elementwise = true,
};

}  // namespace

Tensor cast(const Tensor& x, DType dtype, SourceLocation where) {
  if (x.defined() && x.dtype() == dtype) return x;
  return record(cast_op, {x}, Attrs(CastAttrs{static_cast<std::int64_t>(dtype)}), where);
}

}  // namespace wick
