#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

constexpr Op constant_op{
    .name = "constant",
    .infer = [](InputSpecs, const Attrs& attrs) -> Spec {
      const auto a = attrs.as<ConstantAttrs>();
      require_representable(a.value, a.type());
      return {Shape{}, a.type()};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      const auto a = attrs.as<ConstantAttrs>();
      return fmt::format("{}, {}", a.value, name_of(a.type()));
    },
    .differentiable = false,
};

constexpr Op arange_op{
    .name = "arange",
    .infer = [](InputSpecs, const Attrs& attrs) -> Spec {
      const auto a = attrs.as<ArangeAttrs>();
      if (a.count < 0) throw ArgumentError(fmt::format("the count must not be negative, but is {}", a.count));
      if (a.type() == DType::bool_) throw DTypeError("it takes numeric dtypes, not bool");
      if (a.count > 0) {
        require_representable(a.start, a.type());
        require_representable(a.start + a.step * static_cast<double>(a.count - 1), a.type());
      }
      return {Shape{a.count}, a.type()};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      const auto a = attrs.as<ArangeAttrs>();
      return fmt::format("count {}, start {}, step {}, {}", a.count, a.start, a.step, name_of(a.type()));
    },
    .differentiable = false,
};

}  // namespace

Tensor constant(double value, DType dtype, SourceLocation where) {
  return record(constant_op, Inputs{}, Attrs(ConstantAttrs{value, static_cast<std::int64_t>(dtype)}), where);
}

Tensor full(const Shape& shape, double value, DType dtype, SourceLocation where) {
  const Tensor single = constant(value, dtype, where);
  return shape.rank() == 0 ? single : broadcast_to(single, shape, where);
}

Tensor zeros(const Shape& shape, DType dtype, SourceLocation where) { return full(shape, 0, dtype, where); }

Tensor ones(const Shape& shape, DType dtype, SourceLocation where) { return full(shape, 1, dtype, where); }

Tensor arange(std::int64_t count, DType dtype, double start, double step, SourceLocation where) {
  return record(arange_op, Inputs{}, Attrs(ArangeAttrs{count, static_cast<std::int64_t>(dtype), start, step}),
                where);
}

}  // namespace wick
