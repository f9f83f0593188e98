#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/record.h"
#include "ops/attention_gradient.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

/// Inputs are q, k, v, [mask,] [offset]; those of the gradient have the output and its gradient behind v, so
/// that their options start at 5.
template <typename T>
struct Operands {
  Operands(std::span<const T> inputs, const AttentionAttrs& attrs, std::size_t options = 3)
      : q(inputs[0]),
        k(inputs[1]),
        v(inputs[2]),
        mask(attrs.has_mask ? &inputs[options] : nullptr),
        offset(attrs.has_offset ? &inputs[options + (attrs.has_mask ? 1 : 0)] : nullptr) {}
  /// The queries of one group of heads read the same keys: they are rows of one matrix.
  T rows(const T& x) const {
    return widen(reshape(x, Shape{q.dim(0), k.dim(1), q.dim(1) / k.dim(1) * q.dim(2), q.dim(3)}));
  }
  const T& q;
  const T& k;
  const T& v;
  const T* mask;
  const T* offset;
};

bool broadcasts_to(const Shape& shape, const Shape& target) {
  for (int i = 1; i <= shape.rank(); ++i)
    if (i > target.rank() || (shape.dim(-i) != 1 && shape.dim(-i) != target.dim(-i))) return false;
  return true;
}

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto options = attrs.as<AttentionAttrs>();
  const Operands<Spec> in(inputs, options);
  require_floating(in.q.dtype);
  require_same_dtype(inputs.first(3));
  for (const Spec& s : inputs.first(3))
    if (s.shape.rank() != 4)
      throw ShapeError(fmt::format("q, k and v must be [batch, heads, length, d], not {}", s.shape.str()));
  const Shape& q = in.q.shape;
  const Shape& k = in.k.shape;
  if (!(k == in.v.shape)) throw ShapeError(fmt::format("k is {}, but v is {}", k.str(), in.v.shape.str()));
  if (q[0] != k[0] || q[3] != k[3])
    throw ShapeError(fmt::format("q {} and k {} differ in batch or d", q.str(), k.str()));
  if (k[1] == 0 || q[1] % k[1] != 0)
    throw ShapeError(fmt::format("{} query heads are no multiple of {} key heads", q[1], k[1]));
  if (!std::isfinite(options.scale)) throw ArgumentError("the scale must be finite");
  if (options.window < 0)
    throw ArgumentError(fmt::format("the window must not be negative, it is {}", options.window));
  if (in.mask) {
    if (in.mask->dtype != DType::bool_ && !is_floating(in.mask->dtype))
      throw DTypeError(fmt::format("the mask must be bool or floating, not {}", name_of(in.mask->dtype)));
    const Shape scores{q[0], q[1], q[2], k[2]};
    if (!broadcasts_to(in.mask->shape, scores))
      throw ShapeError(fmt::format("the mask {} does not broadcast to [batch, heads, m, n] = {}",
                                   in.mask->shape.str(), scores.str()));
  }
  if (in.offset && (in.offset->dtype != DType::i64 || in.offset->shape.rank() != 0))
    throw ArgumentError("the offset must be a rank-0 i64 tensor");
  return in.q;
}

/// Which keys [m, n] each query may see by position; empty when all.
Tensor visible_keys(const Operands<Tensor>& in, const AttentionAttrs& options) {
  if (!options.causal && options.window == 0) return {};
  const std::int64_t m = in.q.dim(2);
  const std::int64_t n = in.k.dim(2);
  const Tensor first = in.offset ? *in.offset : constant(static_cast<double>(n - m), DType::i64);
  const Tensor distance = (expand_dims(arange(m), 1) + first) - expand_dims(arange(n), 0);
  const Tensor past = options.causal ? greater_equal(distance, 0) : Tensor{};
  const Tensor near = options.window > 0 ? less(distance, options.window) : Tensor{};
  if (past.defined() && near.defined()) return logical_and(past, near);
  return past.defined() ? past : near;
}

/// Softmax over the last axis in which a row of -inf gives zeros.
Tensor masked_softmax(const Tensor& scores) {
  const double lowest = -std::numeric_limits<double>::infinity();
  const Tensor any = not_equal(max(stop_gradient(scores), {-1}, true), lowest);
  return where(any, softmax(where(any, scores, 0.0), -1), 0.0);
}

/// The softmax, [batch, kv_heads, rows, n].
Tensor weights_of(const Operands<Tensor>& in, const AttentionAttrs& options) {
  const std::int64_t m = in.q.dim(2);
  const std::int64_t n = in.k.dim(2);
  Tensor scores = matmul(in.rows(in.q) * options.scale, transpose(widen(in.k)));
  const Shape by_rows = scores.shape();
  scores = reshape(scores, Shape{in.q.dim(0), in.q.dim(1), m, n});

  const double lowest = -std::numeric_limits<double>::infinity();
  if (const Tensor visible = visible_keys(in, options); visible.defined())
    scores = where(visible, scores, lowest);
  if (in.mask)
    scores = in.mask->dtype() == DType::bool_ ? where(*in.mask, scores, lowest)
                                              : scores + cast_to(*in.mask, scores.dtype());
  const bool sees_itself = !in.mask && !in.offset && (n >= m || !options.causal) && options.window == 0;
  return reshape(sees_itself ? softmax(scores, -1) : masked_softmax(scores), by_rows);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const auto options = attrs.as<AttentionAttrs>();
  const Operands<Tensor> in(inputs, options);
  if (in.k.dim(2) == 0 || in.q.elements() == 0) return zeros(in.q.shape(), in.q.dtype());
  const Tensor out = matmul(weights_of(in, options), widen(in.v));
  return cast_to(reshape(out, in.q.shape()), in.q.dtype());
}

std::string describe(const Attrs& attrs) {
  const auto options = attrs.as<AttentionAttrs>();
  return fmt::format("scale={}{}{}", options.scale, options.causal ? ", causal" : "",
                     options.window > 0 ? fmt::format(", window={}", options.window) : "");
}

/// The gradients of q, k and v share all that is expensive, and an op has one output: it holds the three, one
/// behind the other, each as [batch, length, heads, d], as the projections that they go back to have them.
/// Inputs are q, k, v, the output, its gradient, [mask,] [offset].
Spec infer_gradient(InputSpecs inputs, const Attrs&) {
  return {Shape{inputs[0].shape.elements() + 2 * inputs[1].shape.elements()}, inputs[0].dtype};
}

/// The gradient of the scores, given the softmax: weights (grad v^T - sum(grad out)).
Tensor score_gradient(const Operands<Tensor>& in, const Tensor& weights, const Tensor& out,
                      const Tensor& grad) {
  const Tensor rows = in.rows(grad);
  return weights * (matmul(rows, transpose(widen(in.v))) - sum(rows * in.rows(out), {-1}, true));
}

/// [batch, heads, length, d] as a flat tensor with the heads side by side, and back.
Tensor side_by_side(const Tensor& x) { return reshape(permute(x, {0, 2, 1, 3}), {x.elements()}); }
Tensor part_of(const Tensor& packed, std::int64_t start, const Shape& shape) {
  const Tensor part = slice(packed, 0, start, start + shape.elements());
  return permute(reshape(part, {shape[0], shape[2], shape[1], shape[3]}), {0, 2, 1, 3});
}

Tensor decompose_gradient(Inputs inputs, const Attrs& attrs) {
  const auto options = attrs.as<AttentionAttrs>();
  const Operands<Tensor> in(inputs, options, 5);
  if (in.k.dim(2) == 0 || in.q.elements() == 0)
    return zeros({in.q.elements() + 2 * in.k.elements()}, in.q.dtype());
  const Tensor weights = weights_of(in, options);
  const Tensor scores = score_gradient(in, weights, inputs[3], inputs[4]) * options.scale;
  const Tensor packed = concat({side_by_side(reshape(matmul(scores, widen(in.k)), in.q.shape())),
                                side_by_side(matmul(transpose(scores), in.rows(in.q))),
                                side_by_side(matmul(transpose(weights), in.rows(inputs[4])))},
                               0);
  return cast_to(packed, in.q.dtype());
}

/// Pairs of a query and a key that it may see, over all heads. Where the positions are data (an offset), as
/// if every query saw every key.
double visible_pairs(InputSpecs inputs, const AttentionAttrs& options) {
  const Shape& q = inputs[0].shape;
  const auto queries = q[2];
  const auto keys = inputs[1].shape[2];
  double pairs = 0;
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t position = keys - queries + i;
    const std::int64_t last = options.causal ? std::clamp<std::int64_t>(position + 1, 0, keys) : keys;
    const std::int64_t first =
        options.window > 0 ? std::clamp<std::int64_t>(position - options.window + 1, 0, last) : 0;
    pairs += static_cast<double>(options.has_offset ? keys : last - first);
  }
  return pairs * static_cast<double>(q[0] * q[1]);
}

/// `products` products of [m, d] by [d, n], and the softmax: maximum, subtraction, exponential, sum, scale.
template <int products>
double flops(InputSpecs inputs, const Spec&, const Attrs& attrs) {
  return visible_pairs(inputs, attrs.as<AttentionAttrs>()) *
         (2.0 * products * static_cast<double>(inputs[0].shape[3]) + 5);
}

const Op gradient_op{.name = "attention_gradient",
                     .infer = infer_gradient,
                     .decompose = decompose_gradient,
                     .describe = describe,
                     .flops = flops<5>};

Tensor decompose_rope_gradient(Inputs inputs, const Attrs& attrs) {
  const std::size_t tables = inputs.size() - 2;
  const std::vector<Tensor> of_attention(inputs.begin(),
                                         inputs.begin() + static_cast<std::ptrdiff_t>(tables));
  const Tensor packed = record(gradient_op, of_attention, attrs, {});
  const std::int64_t q = inputs[0].elements();
  const std::int64_t k = inputs[1].elements();
  const auto before = [&](std::int64_t start, const Tensor& rotated) {
    return side_by_side(
        rope(part_of(packed, start, rotated.shape()), inputs[tables], neg(inputs[tables + 1])));
  };
  return concat({before(0, inputs[0]), before(q, inputs[1]), slice(packed, 0, q + k, q + 2 * k)}, 0);
}

/// A rotated pair of elements takes six operations.
double rope_gradient_flops(InputSpecs inputs, const Spec& output, const Attrs& attrs) {
  const auto rotated = static_cast<double>(inputs[0].shape.elements() + inputs[1].shape.elements());
  return flops<5>(inputs, output, attrs) + 3 * rotated;
}

const Op rope_gradient_op{.name = "attention_rope_gradient",
                          .infer = infer_gradient,
                          .decompose = decompose_rope_gradient,
                          .describe = describe,
                          .flops = rope_gradient_flops};

Tensor mask_gradient(const Operands<Tensor>& in, const AttentionAttrs& options, const VjpArgs& args) {
  const Tensor& mask = *in.mask;
  if (in.k.dim(2) == 0 || in.q.elements() == 0) return zeros(mask.shape(), mask.dtype());
  const Tensor scores = score_gradient(in, weights_of(in, options), args.output, args.grad);
  const Shape by_heads{in.q.dim(0), in.q.dim(1), in.q.dim(2), in.k.dim(2)};
  return cast_to(sum_to(reshape(scores, by_heads), mask.shape()), mask.dtype());
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const auto options = args.attrs.as<AttentionAttrs>();
  const Operands<Tensor> in(args.inputs, options);
  std::vector<Tensor> gradients(args.inputs.size());
  if (in.mask && args.needed[3]) gradients[3] = mask_gradient(in, options, args);
  if (!args.needed[0] && !args.needed[1] && !args.needed[2]) return gradients;
  std::vector<Tensor> inputs{in.q, in.k, in.v, args.output, args.grad};
  if (in.mask) inputs.push_back(*in.mask);
  if (in.offset) inputs.push_back(*in.offset);
  const Tensor packed = record(gradient_op, inputs, args.attrs, {});
  std::int64_t start = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const Shape& shape = args.inputs[i].shape();
    if (args.needed[i]) gradients[i] = part_of(packed, start, shape);
    start += shape.elements();
  }
  return gradients;
}

const Op attention_op{.name = "attention",
                      .infer = infer,
                      .decompose = decompose,
                      .vjp = vjp,
                      .describe = describe,
                      .flops = flops<2>};

}  // namespace

const Op& attention_rope_gradient_op() { return rope_gradient_op; }

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                 const Tensor& mask, const Tensor& offset, SourceLocation where) {
  const double d = q.rank() > 0 ? static_cast<double>(q.dim(-1)) : 1;
  const AttentionAttrs attrs{options.scale != 0 ? options.scale : 1 / std::sqrt(std::max(d, 1.0)),
                             options.causal, options.window, mask.defined(), offset.defined()};
  std::vector<Tensor> inputs{q, k, v};
  if (mask.defined()) inputs.push_back(mask);
  if (offset.defined()) inputs.push_back(offset);
  return record(attention_op, inputs, attrs, where);
}

}  // namespace wick
