#include "wick/ops/random.h"

#include <fmt/format.h>

#include <numbers>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/random_key.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  require_random_key(inputs[0]);
  const auto a = attrs.as<ShapeAttrs>();
  require_floating(a.type());
  return {a.shape(), a.type()};
}

std::string describe(const Attrs& attrs) {
  const auto a = attrs.as<ShapeAttrs>();
  return fmt::format("{}{}", name_of(a.type()), a.shape().str());
}

/// Box and Muller 1958, "A note on the generation of random normal deviates".
Tensor decompose_normal(Inputs inputs, const Attrs& attrs) {
  const auto a = attrs.as<ShapeAttrs>();
  const DType wide = wide_dtype(a.type());
  const Tensor& key = inputs[0];
  // The second stream lies beyond those that keys begin with.
  const Tensor second_key = key + arange(2, DType::i64, 0, 0x1p62);
  const Tensor radius = sqrt(log(1 - random_uniform(key, a.shape(), wide)) * -2);
  const Tensor angle = random_uniform(second_key, a.shape(), wide) * (2 * std::numbers::pi);
  return cast_to(radius * cos(angle), a.type());
}

const Op random_uniform_op{
    .name = "random_uniform", .infer = infer, .describe = describe, .differentiable = false};
const Op random_normal_op{.name = "random_normal",
                          .infer = infer,
                          .decompose = decompose_normal,
                          .describe = describe,
                          .differentiable = false};

}  // namespace

void require_random_key(const Spec& key) {
  if (key.dtype != DType::i64 || !(key.shape == Shape{2}))
    throw ArgumentError(fmt::format("the key must be i64[2], as random_key makes it, not {}{}",
                                    name_of(key.dtype), key.shape.str()));
}

Tensor random_key(std::uint64_t seed, std::uint64_t stream) {
  return Tensor::from(
      std::vector<std::int64_t>{static_cast<std::int64_t>(seed), static_cast<std::int64_t>(stream)}, {2});
}

Tensor random_uniform(const Tensor& key, const Shape& shape, DType dtype, SourceLocation where) {
  return record(random_uniform_op, {key}, ShapeAttrs::of(shape, dtype), where);
}

Tensor random_normal(const Tensor& key, const Shape& shape, DType dtype, SourceLocation where) {
  return record(random_normal_op, {key}, ShapeAttrs::of(shape, dtype), where);
}

}  // namespace wick
