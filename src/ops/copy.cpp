#include "ops/copy.h"

namespace wick {

const Op& copy_op() {
  static constexpr Op op{
      .name = "copy",
      .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
      .differentiable = false,
  };
  return op;
}

}  // namespace wick
