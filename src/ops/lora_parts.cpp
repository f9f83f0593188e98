#include "ops/lora_parts.h"

#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/linear_shapes.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

/// [..., n] for x [..., k] and a matrix [n, k], or [k, n] when `transposed`.
Shape product_shape(const Shape& x, const Shape& matrix, bool transposed) {
  return x.with(-1, matrix[transposed ? 1 : 0]);
}

/// x matrix^T, or x matrix when `transposed`.
Tensor product(const Tensor& x, const Tensor& matrix, bool transposed) {
  return transposed ? matmul(x, matrix) : linear(x, matrix);
}

double product_flops(const Shape& x, const Shape& output) {
  return 2 * static_cast<double>(output.elements()) * static_cast<double>(x.dim(-1));
}

Spec infer_projection(InputSpecs in, const Attrs& attrs) {
  const bool transposed = attrs.as<LoraProjectionAttrs>().transposed != 0;
  return {product_shape(in[0].shape, in[1].shape, transposed), in[1].dtype};
}

double projection_flops(InputSpecs in, const Spec& output, const Attrs&) {
  return product_flops(in[0].shape, output.shape) + static_cast<double>(output.shape.elements());
}

std::string describe_projection(const Attrs& attrs) {
  return fmt::format("scale={}", attrs.as<LoraProjectionAttrs>().scale);
}

const Op projection_op{
    .name = "lora_projection",
    .infer = infer_projection,
    .decompose = [](Inputs in, const Attrs& attrs) -> Tensor {
      const auto options = attrs.as<LoraProjectionAttrs>();
      return product(cast_to(in[0], in[1].dtype()), in[1], options.transposed != 0) * options.scale;
    },
    .describe = describe_projection,
    .flops = projection_flops,
};

/// Inputs are x, weight, [bias,] t, b.
const Op update_op{
    .name = "lora_update",
    .infer = [](InputSpecs in, const Attrs& attrs) -> Spec {
      const bool transposed = attrs.as<LoraUpdateAttrs>().transposed != 0;
      return {product_shape(in[0].shape, in[1].shape, transposed), in[0].dtype};
    },
    .decompose = [](Inputs in, const Attrs& attrs) -> Tensor {
      const auto options = attrs.as<LoraUpdateAttrs>();
      const Tensor& x = in[0];
      const bool transposed = options.transposed != 0;
      const Tensor bias = options.has_bias != 0 ? in[2] : Tensor{};
      Tensor base = transposed ? matmul(x, cast_to(in[1], x.dtype())) : linear(x, in[1], bias);
      if (transposed && bias.defined()) base = base + cast_to(bias, x.dtype());
      const Tensor added = product(in[in.size() - 2], in[in.size() - 1], transposed);
      return cast_to(base + added, x.dtype());
    },
    .flops =
        [](InputSpecs in, const Spec& output, const Attrs& attrs) {
          const auto addends =
              static_cast<double>(output.shape.elements() * (1 + attrs.as<LoraUpdateAttrs>().has_bias));
          return product_flops(in[0].shape, output.shape) +
                 product_flops(in[in.size() - 2].shape, output.shape) + addends;
        },
};

Spec infer_gradient(InputSpecs in, const Attrs& attrs) {
  const std::int64_t columns = in[0].shape.dim(-1);
  const std::int64_t rank = in[1].shape.dim(-1);
  const bool transposed = attrs.as<LoraGradientAttrs>().is_transposed(0);
  return {transposed ? Shape{rank, columns} : Shape{columns, rank}, in[1].dtype};
}

double gradient_flops(InputSpecs in, const Spec&, const Attrs&) {
  return 2 * static_cast<double>(in[0].shape.elements()) * static_cast<double>(in[1].shape.dim(-1));
}

const Op gradient_op{
    .name = "lora_gradient",
    .infer = infer_gradient,
    .decompose = [](Inputs in, const Attrs& attrs) -> Tensor {
      const Tensor t = flat_rows(in[1]);
      const Tensor x = cast_to(flat_rows(in[0]), t.dtype());
      return attrs.as<LoraGradientAttrs>().transposed != 0 ? matmul(transpose(t), x)
                                                           : matmul(transpose(x), t);
    },
    .flops = gradient_flops,
};

Spec infer_update_sum(InputSpecs in, const Attrs& attrs) {
  const bool transposed = attrs.as<LoraUpdateSumAttrs>().transposed != 0;
  return {product_shape(in[0].shape, in[1].shape, transposed), in[0].dtype};
}

/// What a member that projects multiplies by b.
Spec infer_low(InputSpecs in, const LoraUpdateMember& member, bool transposed) {
  const Spec& a = in[member.factor];
  return {product_shape(in[member.x].shape, a.shape, transposed), a.dtype};
}

std::vector<Spec> infer_all_of_update_sum(InputSpecs in, const Attrs& attrs) {
  const auto options = attrs.as<LoraUpdateSumAttrs>();
  std::vector<Spec> results{infer_update_sum(in, attrs)};
  for (const LoraUpdateMember& member : lora_update_members(in.size(), options))
    if (member.keeps) results.push_back(infer_low(in, member, options.transposed != 0));
  return results;
}

/// Products, and the additions of what they give.
double update_sum_flops(InputSpecs in, const Spec& output, const Attrs& attrs) {
  const auto options = attrs.as<LoraUpdateSumAttrs>();
  const auto elements = static_cast<double>(output.shape.elements());
  double total = options.has_bias != 0 ? 0 : -elements;
  for (const LoraUpdateMember& member : lora_update_members(in.size(), options)) {
    total += product_flops(in[member.x].shape, output.shape) + elements;
    if (member.factor == 0) continue;
    const Spec low = member.projects ? infer_low(in, member, options.transposed != 0) : in[member.factor];
    if (member.projects) total += projection_flops(in.subspan(member.x, 1), low, attrs);
    total += product_flops(low.shape, output.shape) + elements;
  }
  return total;
}

Attrs projection_of(const Attrs& attrs, std::size_t) { return attrs; }
Attrs gradient_of(const Attrs& attrs, std::size_t member) {
  return LoraGradientAttrs{attrs.as<LoraGradientAttrs>().is_transposed(member) ? 1 : 0};
}

/// Of several that `infer` tells the result of, with the attributes that `attrs_of` tells: all results.
template <auto infer, auto attrs_of>
std::vector<Spec> infer_all(InputSpecs in, const Attrs& attrs) {
  std::vector<Spec> results;
  for (std::size_t m = 0; 2 * m < in.size(); ++m)
    results.push_back(infer(in.subspan(2 * m, 2), attrs_of(attrs, m)));
  return results;
}

template <auto infer, auto attrs_of, auto flops>
double all_flops(InputSpecs in, const Spec&, const Attrs& attrs) {
  double total = 0;
  for (std::size_t m = 0; 2 * m < in.size(); ++m) {
    const InputSpecs member = in.subspan(2 * m, 2);
    total += flops(member, infer(member, attrs_of(attrs, m)), attrs);
  }
  return total;
}

}  // namespace

Tensor lora_projection(const Tensor& x, const Tensor& a, double scale, bool transposed) {
  return record(projection_op, {x, a}, LoraProjectionAttrs{scale, transposed}, SourceLocation{});
}

Tensor lora_update(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& t,
                   const Tensor& b, bool transposed) {
  const LoraUpdateAttrs attrs{bias.defined(), transposed};
  if (!bias.defined()) return record(update_op, {x, weight, t, b}, attrs, SourceLocation{});
  return record(update_op, {x, weight, bias, t, b}, attrs, SourceLocation{});
}

Tensor lora_gradient(const Tensor& x, const Tensor& t, bool transposed) {
  return record(gradient_op, {x, t}, LoraGradientAttrs{transposed}, SourceLocation{});
}

std::vector<LoraUpdateMember> lora_update_members(std::size_t inputs, const LoraUpdateSumAttrs& attrs) {
  std::vector<LoraUpdateMember> members;
  for (std::size_t x = 0; x + (attrs.has_bias != 0 ? 1 : 0) < inputs;) {
    const auto is = [bit = members.size()](std::int64_t property) { return (property >> bit & 1) != 0; };
    const std::size_t factor = is(attrs.plain) ? 0 : x + 2;
    members.push_back({x, factor, is(attrs.projecting), is(attrs.kept)});
    x += factor == 0 ? 2 : 4;
  }
  return members;
}

const Op& lora_update_sum_op() {
  static constexpr Op op{.name = "lora_update_sum",
                         .infer = infer_update_sum,
                         .flops = update_sum_flops,
                         .infer_all = infer_all_of_update_sum};
  return op;
}

const Op& lora_projections_op() {
  static constexpr Op op{.name = "lora_projections",
                         .infer = infer_projection,
                         .describe = describe_projection,
                         .flops = all_flops<infer_projection, projection_of, projection_flops>,
                         .infer_all = infer_all<infer_projection, projection_of>};
  return op;
}

const Op& lora_gradients_op() {
  static constexpr Op op{.name = "lora_gradients",
                         .infer = infer_gradient,
                         .flops = all_flops<infer_gradient, gradient_of, gradient_flops>,
                         .infer_all = infer_all<infer_gradient, gradient_of>};
  return op;
}

}  // namespace wick
