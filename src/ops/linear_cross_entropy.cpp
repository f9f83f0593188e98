#include "ops/linear_cross_entropy.h"

#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/cross_entropy.h"
#include "ops/helpers.h"
#include "ops/linear_shapes.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

// Three ops: the loss alone, the loss with what its gradient needs, and the gradient of the weight. A graph
// that holds the first two computes both by the second (see optimize/share_loss.h).
namespace wick {
namespace {

LinearCrossEntropyAttrs options_of(const Attrs& attrs) { return attrs.as<LinearCrossEntropyAttrs>(); }
bool is_transposed(const Attrs& attrs) { return options_of(attrs).transposed != 0; }

/// Inputs are hidden, weight, targets, ...
void check(InputSpecs inputs, const Attrs& attrs) {
  const Spec weight = untransposed(inputs[1], is_transposed(attrs));
  infer_linear(inputs[0], weight, {});
  const Spec& targets = inputs[2];
  require_targets(targets.dtype);
  if (weight.shape[0] == 0) throw ShapeError("the weight must be [classes, d] with at least one class");
  if (!(targets.shape == inputs[0].shape.without(-1)))
    throw ShapeError(fmt::format("targets must be {}, hidden's shape without its last dimension, not {}",
                                 inputs[0].shape.without(-1).str(), targets.shape.str()));
  require_smoothing(options_of(attrs).loss.label_smoothing);
}

/// Not rounded to a narrow hidden's dtype, as the kernel does not.
Tensor wide_logits(Inputs inputs, const Attrs& attrs) {
  const Tensor hidden = widen(inputs[0]);
  return is_transposed(attrs) ? matmul(hidden, cast_to(inputs[1], hidden.dtype()))
                              : linear(hidden, inputs[1]);
}

Spec infer_sum(InputSpecs inputs, const Attrs& attrs) {
  check(inputs, attrs);
  return {Shape{}, wide_dtype(inputs[0].dtype)};
}

Tensor decompose_sum(Inputs inputs, const Attrs& attrs) {
  const CrossEntropyAttrs options = options_of(attrs).loss;
  return cross_entropy_sum(wide_logits(inputs, attrs), inputs[2], options.ignore_index,
                           options.label_smoothing);
}

Spec infer_parts(InputSpecs inputs, const Attrs& attrs) {
  check(inputs, attrs);
  return {Shape{LossParts::of(inputs[0].shape).size()}, wide_dtype(inputs[0].dtype)};
}

Tensor decompose_parts(Inputs inputs, const Attrs& attrs) {
  const LossParts parts = LossParts::of(inputs[0].shape());
  const Tensor logits = wide_logits(inputs, attrs);
  const Tensor total = decompose_sum(inputs, attrs);
  const Tensor by_logits =
      cross_entropy_gradient(logits, inputs[2], ones({}, total.dtype()), options_of(attrs).loss);
  const Tensor weight = cast_to(inputs[1], total.dtype());
  const Tensor by_hidden = matmul(by_logits, is_transposed(attrs) ? transpose(weight) : weight);
  return concat({reshape(by_hidden, {parts.gradient}), reshape(logsumexp(logits, {-1}), {parts.log_norms}),
                 reshape(total, {1})},
                0);
}

/// `products` matrix products of the size of the logits', and the softmax.
template <int products>
double flops(InputSpecs inputs, const Spec&, const Attrs& attrs) {
  const auto rows = static_cast<double>(inputs[0].shape.without(-1).elements());
  const Spec weight = untransposed(inputs[1], is_transposed(attrs));
  return products * linear_flops(inputs[0], weight, false) + 4 * rows * static_cast<double>(weight.shape[0]);
}

std::string describe(const Attrs& attrs) {
  return describe_cross_entropy(options_of(attrs).loss) + (is_transposed(attrs) ? ", transposed" : "");
}

const Op parts_op{.name = "linear_cross_entropy_parts",
                  .infer = infer_parts,
                  .decompose = decompose_parts,
                  .describe = describe,
                  .flops = flops<2>};

/// Inputs are hidden, weight, targets, the log_norms of the parts, and the gradient of the sum.
Spec infer_weight_gradient(InputSpecs inputs, const Attrs& attrs) {
  check(inputs, attrs);
  return inputs[1];
}

Tensor decompose_weight_gradient(Inputs inputs, const Attrs& attrs) {
  const Tensor by_logits = flat_rows(
      cross_entropy_gradient(wide_logits(inputs, attrs), inputs[2], inputs[4], options_of(attrs).loss));
  const Tensor hidden = flat_rows(widen(inputs[0]));
  const Tensor gradient =
      is_transposed(attrs) ? matmul(transpose(hidden), by_logits) : matmul(transpose(by_logits), hidden);
  return cast_to(gradient, inputs[1].dtype());
}

const Op weight_gradient_op{.name = "linear_cross_entropy_weight_gradient",
                            .infer = infer_weight_gradient,
                            .decompose = decompose_weight_gradient,
                            .describe = describe,
                            .flops = flops<2>};

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& hidden = args.inputs[0];
  const Tensor& weight = args.inputs[1];
  const Tensor& targets = args.inputs[2];
  const LossParts parts = LossParts::of(hidden.shape());
  const Tensor all = record_loss_parts(hidden, weight, targets, args.attrs);
  std::vector<Tensor> gradients(3);
  if (args.needed[0]) {
    const Tensor of_sum = reshape(slice(all, 0, 0, parts.gradient), hidden.shape());
    gradients[0] = cast_to(of_sum * args.grad, hidden.dtype());
  }
  if (args.needed[1]) {
    const Tensor log_norms = slice(all, 0, parts.gradient, parts.gradient + parts.log_norms);
    gradients[1] =
        record(weight_gradient_op, {hidden, weight, targets, log_norms, args.grad}, args.attrs, {});
  }
  return gradients;
}

const Op sum_op{.name = "linear_cross_entropy_sum",
                .infer = infer_sum,
                .decompose = decompose_sum,
                .vjp = vjp,
                .describe = describe,
                .flops = flops<1>};

}  // namespace

Tensor loss_of_parts(const Tensor& parts) {
  const std::int64_t last = parts.dim(0) - 1;
  return reshape(slice(parts, 0, last, last + 1), Shape{});
}

Tensor record_loss_sum(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                       const LinearCrossEntropyAttrs& attrs, SourceLocation where) {
  return record(sum_op, {hidden, weight, targets}, attrs, where);
}

Tensor record_loss_parts(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                         const Attrs& attrs) {
  return record(parts_op, {hidden, weight, targets}, attrs, {});
}

Tensor linear_cross_entropy_sum(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                                std::int64_t ignore_index, double label_smoothing, SourceLocation where) {
  return record_loss_sum(hidden, weight, targets, {{ignore_index, label_smoothing}, 0}, where);
}

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            std::int64_t ignore_index, double label_smoothing, SourceLocation where) {
  return mean_over_counted(
      linear_cross_entropy_sum(hidden, weight, targets, ignore_index, label_smoothing, where), targets,
      ignore_index, where);
}

}  // namespace wick
