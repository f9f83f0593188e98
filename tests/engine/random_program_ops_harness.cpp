#include <cmath>
#include <limits>

#include "random_program_recorder.h"

namespace wick::test {
namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

/// Keeps values small, so that rounding stays small.
Tensor bounded(const Tensor& x) { return tanh(x * 0.5); }

Tensor elementwise(Recorder& r) {
  static const std::vector<Unary> ops{
      [](const Tensor& x) { return neg(x); },
      [](const Tensor& x) { return exp(bounded(x)); },
      [](const Tensor& x) { return log(square(x) + 0.5); },
      [](const Tensor& x) { return sqrt(square(x) + 0.5); },
      [](const Tensor& x) { return rsqrt(square(x) + 0.5); },
      [](const Tensor& x) { return 1 / sqrt(x * x + 1); },
      [](const Tensor& x) { return sin(x); },
      [](const Tensor& x) { return cos(x); },
      [](const Tensor& x) { return tanh(x); },
      [](const Tensor& x) { return sigmoid(x); },
      [](const Tensor& x) { return 1 / (1 + exp(-x)); },
      [](const Tensor& x) { return erf(x); },
      [](const Tensor& x) { return square(bounded(x)); },
      [](const Tensor& x) { return pow(bounded(x), 3); },
      [](const Tensor& x) { return pow(x, 1); },
      [](const Tensor& x) { return pow(square(x) + 0.5, -1); },
      [](const Tensor& x) { return silu(x); },
      [](const Tensor& x) { return x * sigmoid(x); },
      [](const Tensor& x) { return x / (1 + exp(-x)); },
      [](const Tensor& x) { return gelu(x); },
      [](const Tensor& x) { return 0.5 * x * (1 + erf(x / 1.4142135623730951)); },
      [](const Tensor& x) { return gelu_tanh(x); },
      [](const Tensor& x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * pow(x, 3)))); },
      [](const Tensor& x) { return stop_gradient(x); },
  };
  return r.one_of(ops)(r.value());
}

Tensor with_number(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, double)> ops{
      [](const Tensor& x, double c) { return x + c; },
      [](const Tensor& x, double c) { return x - c; },
      [](const Tensor& x, double c) { return c - x; },
      [](const Tensor& x, double c) { return x * c; },
      [](const Tensor& x, double c) { return x / (c == 0 ? 3 : c); },
      [](const Tensor& x, double c) { return c / (square(x) + 0.5); },
      [](const Tensor& x, double c) { return full({}, c, x.dtype()) * x; },
      [](const Tensor& x, double c) { return full(x.shape(), c, x.dtype()) + x; },
  };
  return r.one_of(ops)(r.value(), r.number());
}

Tensor binary(Recorder& r) {
  static const std::vector<Binary> ops{
      [](const Tensor& a, const Tensor& b) { return a + b; },
      [](const Tensor& a, const Tensor& b) { return a - b; },
      [](const Tensor& a, const Tensor& b) { return bounded(a) * bounded(b); },
      [](const Tensor& a, const Tensor& b) { return bounded(a) / (square(b) + 0.5); },
      [](const Tensor& a, const Tensor& b) { return pow(sigmoid(a) + 0.5, bounded(b)); },
      [](const Tensor& a, const Tensor& b) { return neg(a) - neg(b); },
      [](const Tensor& a, const Tensor& b) { return -a / -(square(b) + 1); },
  };
  const Tensor a = r.value();
  const Tensor b = r.partner(a.shape());
  return r.chance(50) ? r.one_of(ops)(a, b) : r.one_of(ops)(b, a);
}

Tensor discontinuous(Recorder& r) {
  static const std::vector<Binary> ops{
      [](const Tensor& a, const Tensor& b) { return maximum(a, b); },
      [](const Tensor& a, const Tensor& b) { return minimum(a, b); },
      [](const Tensor& a, const Tensor&) { return relu(a); },
      [](const Tensor& a, const Tensor&) { return wick::abs(a); },
      [](const Tensor& a, const Tensor&) { return sign(a); },
      [](const Tensor& a, const Tensor&) { return clamp(a, -0.5, 0.8); },
  };
  const Tensor a = r.value(true);
  return r.one_of(ops)(a, r.partner(a.shape(), true));
}

Tensor compare(Recorder& r) {
  static const std::vector<Tensor (*)(const Operand&, const Operand&)> ops{
      less, less_equal, greater, greater_equal, equal, not_equal, logical_and, logical_or};
  const Tensor a = r.value(true);
  const Tensor flags = r.one_of(ops)(a, r.partner(a.shape(), true));
  return r.chance(30) ? logical_not(flags) : flags;
}

Tensor select(Recorder& r) {
  const Tensor a = r.value();
  const Tensor flags = r.flags(a);
  if (r.chance(30)) return where(flags, a, r.number());
  return where(flags, a, r.partner(broadcast_shapes(flags.shape(), a.shape())));
}

Tensor integers(Recorder& r) {
  static const std::vector<Unary> ops{
      [](const Tensor& n) { return n + 3; },
      [](const Tensor& n) { return n * 2 - n; },
      [](const Tensor& n) { return neg(n) * n; },
      [](const Tensor& n) { return minimum(maximum(n, -4), 4); },
      [](const Tensor& n) { return sum(n); },
      [](const Tensor& n) { return cast(cast(n, DType::i32), DType::i64); },
      [](const Tensor& n) { return cast(cast(n, DType::u8) + 250, DType::i32); },
      [](const Tensor& n) { return n - n + arange(1); },
  };
  const Tensor n = r.whole();
  return minimum(maximum(r.one_of(ops)(n), -1000), 1000);
}

Tensor from_integers(Recorder& r) {
  const Tensor n = r.chance(30) ? cast(cast(r.flags(r.value()), DType::u8), DType::i32) : r.whole();
  return cast(minimum(maximum(n, -9), 9), r.real()) * 0.1;
}

Tensor move(Recorder& r, const Tensor& x) {
  static const std::vector<Tensor (*)(Recorder&, const Tensor&)> ops{
      [](Recorder&, const Tensor& v) { return reshape(v, Shape{v.elements()}); },
      [](Recorder& q, const Tensor& v) { return expand_dims(v, q.below(v.rank() + 1)); },
      [](Recorder&, const Tensor& v) {
        const std::int64_t n = v.elements();
        return n % 2 == 0 && n > 0 ? reshape(v, {2, -1}) : reshape(v, {n, 1});
      },
      [](Recorder& q, const Tensor& v) {
        std::vector<int> order(static_cast<std::size_t>(v.rank()));
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
        for (std::size_t i = order.size(); i > 1; --i)
          std::swap(order[i - 1], order[static_cast<std::size_t>(q.below(static_cast<int>(i)))]);
        return permute(v, order);
      },
      [](Recorder&, const Tensor& v) { return v.rank() >= 2 ? transpose(v) : v; },
      [](Recorder& q, const Tensor& v) {
        const int d = q.axis(v);
        const int n = static_cast<int>(v.dim(d));
        const int start = q.below(n + 1);
        return slice(v, d, start, start + q.below(n + 1), 1 + q.below(2));
      },
      [](Recorder& q, const Tensor& v) {
        const int d = q.axis(v);
        return slice(v, d, -1, -v.dim(d) - 1, -1 - q.below(2));
      },
      [](Recorder& q, const Tensor& v) { return pad(v, q.axis(v), q.below(3), q.below(3), q.number()); },
      [](Recorder& q, const Tensor& v) {
        return v.elements() > 1000 ? v : broadcast_to(v, v.shape().inserted(0, 1 + q.below(3)));
      },
      [](Recorder& q, const Tensor& v) {
        const int d = q.axis(v);
        const int n = static_cast<int>(v.dim(d));
        return n == 0 ? v : take(v, q.indices(q.shape(0, 2), n), d);
      },
  };
  if (x.rank() == 0 || x.rank() >= 6) return reshape(x, Shape{x.elements()});
  return r.one_of(ops)(r, x);
}

std::vector<int> some_axes(Recorder& r, const Tensor& x) {
  std::vector<int> axes;
  for (int d = 0; d < x.rank(); ++d)
    if (r.chance(50)) axes.push_back(r.chance(50) ? d : d - x.rank());
  return axes;
}

Tensor reduce(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, const std::vector<int>&, bool)> ops{
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return sum(x, axes, keep); },
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return mean(x, axes, keep); },
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return sum(square(x), axes, keep); },
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return mean(abs(x), axes, keep); },
  };
  const Tensor x = r.value();
  return r.one_of(ops)(x, some_axes(r, x), r.chance(50));
}

Tensor largest(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, const std::vector<int>&, bool)> ops{
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return max(x, axes, keep); },
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return min(x, axes, keep); },
      [](const Tensor& x, const std::vector<int>& axes, bool keep) { return logsumexp(x, axes, keep); },
      [](const Tensor& x, const std::vector<int>&, bool keep) { return max(neg(x), {-1}, keep); },
  };
  Tensor x = r.value_of_rank(1, true);
  if (x.elements() == 0) return x;
  return r.one_of(ops)(x, some_axes(r, x), r.chance(50));
}

Tensor ordered_value(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, int)> ops{
      [](const Tensor& x, int axis) { return sort(x, axis); },
      [](const Tensor& x, int axis) { return sort(x, axis, true); },
      [](const Tensor& x, int axis) { return topk(x, (x.dim(axis) + 1) / 2, axis).first; },
      [](const Tensor& x, int axis) { return take_along_axis(x, argsort(x, axis), axis); },
      [](const Tensor& x, int axis) { return cast(argmax(x, axis), x.dtype()); },
      [](const Tensor& x, int axis) { return cast(argmin(x, axis, true), x.dtype()); },
  };
  const Tensor x = r.value_of_rank(1, true);
  const int axis = r.axis(x);
  return x.dim(axis) == 0 ? x : r.one_of(ops)(x, axis);
}

Tensor softmax_of(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, int)> ops{
      [](const Tensor& x, int axis) { return softmax(x, axis); },
      [](const Tensor& x, int axis) { return log_softmax(x, axis); },
      [](const Tensor& x, int axis) { return x - logsumexp(x, {axis}, true); },
      [](const Tensor& x, int axis) { return cumsum(x, axis) * 0.2; },
      [](const Tensor& x, int axis) {
        const Tensor e = exp(x - stop_gradient(max(x, {axis}, true)));
        return e / sum(e, {axis}, true);
      },
      [](const Tensor& x, int axis) {
        const Tensor e = exp(bounded(x));
        return e / sum(e, {axis}, true);
      },
      [](const Tensor& x, int axis) {
        const Tensor shifted = x - stop_gradient(expand_dims(max(x, {axis}), axis));
        return shifted - log(sum(exp(shifted), {axis}, true));
      },
  };
  const Tensor x = r.value_of_rank(1);
  const int axis = r.axis(x);
  return x.dim(axis) == 0 ? x : r.one_of(ops)(x, axis);
}

Tensor norm(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, const Tensor&, const Tensor&)> ops{
      [](const Tensor& x, const Tensor& w, const Tensor&) { return rms_norm(x, w, 0.1); },
      [](const Tensor& x, const Tensor&, const Tensor&) { return rms_norm(x, {}, 0.1); },
      [](const Tensor& x, const Tensor& w, const Tensor& b) { return layer_norm(x, w, b, 0.1); },
      [](const Tensor& x, const Tensor& w, const Tensor&) { return layer_norm(x, w, {}, 0.1); },
      [](const Tensor& x, const Tensor& w, const Tensor&) {
        return w * (x * rsqrt(mean(x * x, {-1}, true) + 0.1));
      },
      [](const Tensor& x, const Tensor& w, const Tensor&) {
        return x / sqrt(mean(pow(x, 2), {-1}, true) + 0.1) * w;
      },
      [](const Tensor& x, const Tensor& w, const Tensor& b) {
        const Tensor centered = x - mean(x, {-1}, true);
        return centered * rsqrt(mean(square(centered), {-1}, true) + 0.1) * w + b;
      },
      [](const Tensor& x, const Tensor&, const Tensor&) {
        return x * rsqrt(sum(square(x), {0}, true) / static_cast<double>(x.dim(0)) + 0.1);
      },
      [](const Tensor& x, const Tensor& w, const Tensor& b) { return rms_norm(x + bounded(x) * b, w, 0.1); },
  };
  const Tensor x = r.value_of_rank(1);
  const Shape features{x.dim(-1)};
  const Tensor weight = r.data(features);
  return r.one_of(ops)(x, weight, r.data(features));
}

/// Divides a product by the root of its depth.
Tensor scaled(const Tensor& product, std::int64_t depth) {
  return product * (1 / std::sqrt(static_cast<double>(depth + 1)));
}

Tensor product(Recorder& r) {
  const Tensor a = r.value_of_rank(1);
  const std::int64_t depth = a.dim(-1);
  if (a.rank() == 1 || r.chance(20)) return scaled(matmul(a, r.data({depth})), depth);
  Dims dims;
  for (int d = r.below(a.rank() - 1); d < a.rank() - 2; ++d) dims.push_back(r.chance(30) ? 1 : a.dim(d));
  const bool transposed = r.chance(50);
  const std::int64_t columns = r.size();
  dims.push_back(transposed ? columns : depth);
  dims.push_back(transposed ? depth : columns);
  const Tensor b = r.data(Shape(dims));
  return scaled(matmul(a, transposed ? transpose(b) : b), depth);
}

Tensor square_product(Recorder& r) {
  const Tensor a = r.value_of_rank(2);
  return scaled(r.chance(50) ? matmul(a, transpose(a)) : matmul(transpose(a), a), a.dim(-1) + a.dim(-2));
}

Tensor linear_layer(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, const Tensor&, const Tensor&)> ops{
      [](const Tensor& x, const Tensor& w, const Tensor& b) { return linear(x, w, b); },
      [](const Tensor& x, const Tensor& w, const Tensor&) { return linear(x, w); },
      [](const Tensor& x, const Tensor& w, const Tensor& b) { return matmul(x, transpose(w)) + b; },
      [](const Tensor& x, const Tensor& w, const Tensor& b) { return gelu(linear(x, w, b)); },
      [](const Tensor& x, const Tensor& w, const Tensor& b) {
        return silu(linear(x, w)) * linear(x, w + 1.0) + b;
      },
      [](const Tensor& x, const Tensor& w, const Tensor& b) {
        const Tensor y = linear(x, w, b);
        return y.shape() == x.shape() ? x + y : y;
      },
      [](const Tensor& x, const Tensor& w, const Tensor&) {
        return swiglu(linear(x, w), matmul(x, transpose(w)) + 0.5);
      },
  };
  const Tensor x = bounded(r.value_of_rank(1));
  const std::int64_t features = x.dim(-1);
  const std::int64_t out = r.chance(30) ? features : r.size();
  const Tensor weight = r.data({out, features});
  return scaled(r.one_of(ops)(x, weight, r.data({out})), features);
}

/// Other numbers, as a matrix the other way.
Tensor turned(const Tensor& matrix) { return reshape(matrix, {matrix.dim(1), matrix.dim(0)}); }

Tensor adapter(Recorder& r) {
  static const std::vector<Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> ops{
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return lora_linear(x, w, {}, a, b, 0.5);
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return lora_linear(x, w, sum(w, {1}), a, b, 2);
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return linear(x, w) + low_rank(x, a, b, 0.5);
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return matmul(x, transpose(w)) + 0.5 * matmul(matmul(x, transpose(a)), transpose(b));
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return matmul(x, turned(w)) + matmul(matmul(x, turned(a)), turned(b)) * 0.5;
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return matmul(x, turned(w)) + linear(linear(x, a), b) + sum(w, {1});
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return matmul(x, transpose(w)) + matmul(matmul(x, transpose(a)) * 0.5, transpose(b));
      },
      [](const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
        return linear(x, w) + linear(linear(x * 0.5, a), b);
      },
      [](const Tensor& x, const Tensor&, const Tensor& a, const Tensor& b) { return low_rank(x, a, b, 1.5); },
  };
  const Tensor x = bounded(r.value_of_rank(1));
  const std::int64_t features = x.dim(-1);
  const std::int64_t out = r.size();
  const std::int64_t rank = 1 + r.below(4);
  const Tensor weight = r.data({out, features});
  const Tensor a = r.data({rank, features});
  return scaled(r.one_of(ops)(x, weight, a, r.data({out, rank})), features);
}

Tensor attend(Recorder& r) {
  const std::int64_t batch = 1 + r.below(2);
  const std::int64_t groups = 1 + r.below(2);
  const std::int64_t heads = groups * (1 + r.below(3));
  const std::int64_t queries = 1 + r.below(r.is_long() ? 150 : 9);
  const std::int64_t keys = r.chance(50) ? queries : queries + r.below(r.is_long() ? 100 : 9);
  const std::int64_t depth = r.one_of<std::int64_t>({1, 3, 4, 8, 16, 64});
  const Tensor q = transpose(r.data({batch, queries, heads, depth}), 1, 2);
  const Tensor k = r.data({batch, groups, keys, depth});
  const Tensor v = bounded(r.data({batch, groups, keys, depth}));
  const std::int64_t window = r.chance(30) ? 1 + r.below(5) : 0;
  const bool causal = window > 0 || r.chance(50);
  const Tensor distance =
      expand_dims(arange(queries, DType::i64, static_cast<double>(keys - queries)), 1) - arange(keys);
  const Tensor seen = window > 0 ? logical_and(greater_equal(distance, 0), less(distance, window))
                                 : greater_equal(distance, causal ? 0 : -100);
  if (r.chance(40)) return attention(q, k, v, {.causal = causal, .window = window});
  if (r.chance(30)) return attention(q, k, v, {.scale = 0.3}, seen);
  const std::int64_t copies = heads / groups;
  const auto repeated = [&](const Tensor& x) {
    return reshape(broadcast_to(expand_dims(x, 2), Shape{batch, groups, copies, keys, depth}),
                   {batch, heads, keys, depth});
  };
  const Tensor scores = matmul(q, transpose(repeated(k))) / std::sqrt(static_cast<double>(depth));
  const double lowest = -std::numeric_limits<double>::infinity();
  const Tensor masked =
      r.chance(50) ? where(seen, scores, lowest) : scores + where(seen, full({}, 0, r.real()), lowest);
  return matmul(softmax(masked), repeated(v));
}

Tensor loss_of_classes(Recorder& r) {
  const std::int64_t classes = 1 + r.below(r.is_long() ? 3000 : 30);
  const std::int64_t features = 1 + r.below(9);
  const Shape batch = Recorder::filled(r.shape(1, 2));
  Dims dims(batch.dims().begin(), batch.dims().end());
  dims.push_back(features);
  const Tensor hidden = r.data(Shape(dims));
  const Tensor weight = r.data({classes, features});
  const Tensor targets = r.indices(batch, classes);
  const Tensor positive = where(less(targets, 0), targets + classes, targets);
  const Tensor logits =
      r.chance(50) ? linear(hidden, weight) : matmul(hidden, reshape(weight, {features, classes}));
  const Tensor picked = take_along_axis(log_softmax(logits), expand_dims(targets, -1), -1);
  const double count = static_cast<double>(batch.elements());
  const std::vector<Tensor> losses{
      cross_entropy(logits, positive),
      linear_cross_entropy(hidden, weight, positive, -100, 0.1),
      linear_cross_entropy_sum(hidden, weight, positive, 0) * (1 / count),
      -mean(squeeze(picked, -1)),
      mean(logsumexp(logits, {-1}, true) - take_along_axis(logits, expand_dims(targets, -1), -1)),
      -sum(log_softmax(logits) * one_hot(positive, classes, r.real())) / count,
  };
  return r.one_of(losses);
}

Tensor indexed(Recorder& r) {
  static const std::vector<Tensor (*)(Recorder&, const Tensor&, int)> ops{
      [](Recorder& q, const Tensor& x, int axis) {
        return take_along_axis(x, q.indices(x.shape().with(x.shape().normalize_axis(axis), 3), x.dim(axis)),
                               axis);
      },
      [](Recorder& q, const Tensor& x, int axis) {
        const Shape shape = x.shape().with(x.shape().normalize_axis(axis), 3);
        return scatter_add(x, q.indices(shape, x.dim(axis)), q.data(shape), axis);
      },
      [](Recorder& q, const Tensor& x, int axis) {
        const Shape shape = x.shape().with(x.shape().normalize_axis(axis), 2);
        return scatter(x, q.indices(shape, x.dim(axis)), q.data(shape), axis);
      },
      [](Recorder& q, const Tensor& x, int) {
        return x.dim(0) == 0 ? x : index_add(x, q.indices({4}, x.dim(0)), q.data(x.shape().with(0, 4)));
      },
      [](Recorder& q, const Tensor& x, int axis) {
        const int d = x.shape().normalize_axis(axis);
        const Tensor update = q.data(x.shape().with(d, 1 + q.below(static_cast<int>(x.dim(d)))));
        return slice_update(x, update, reshape(q.indices({1}, x.dim(d)), {}), axis);
      },
      [](Recorder& q, const Tensor& x, int axis) {
        return concat({x, slice(x, axis, 0, 2), move(q, x).rank() == x.rank() ? x : neg(x)}, axis);
      },
      [](Recorder& q, const Tensor& x, int) {
        return x.rank() == 2 && x.dim(0) > 0 ? embedding(x, q.indices({2, 3}, x.dim(0))) : x;
      },
  };
  const Tensor x = r.value_of_rank(1);
  const int axis = r.axis(x);
  return x.dim(axis) == 0 ? x : r.one_of(ops)(r, x, axis);
}

Tensor rotate(Recorder& r) {
  const std::int64_t length = 1 + r.below(6);
  const std::int64_t half = 1 + r.below(6);
  const Tensor angle = cast(r.data({1, length, half}), DType::f32);
  return rope(r.data({2, 1 + r.below(3), length, 2 * half}), cos(angle), sin(angle));
}

/// Through 16-bit floats and back.
Tensor narrowed(Recorder& r) {
  static const std::vector<Unary> ops{
      [](const Tensor& x) { return x; },
      [](const Tensor& x) { return bounded(x) + x; },
      [](const Tensor& x) { return x.rank() > 0 && x.dim(-1) > 0 ? softmax(x) : x; },
      [](const Tensor& x) { return x.rank() > 0 && x.dim(-1) > 0 ? rms_norm(x, {}, 0.1) : x; },
      [](const Tensor& x) {
        if (x.rank() == 0 || x.dim(-1) == 0) return x;
        const Tensor wide = cast(x, DType::f32);
        return cast(wide * rsqrt(mean(square(wide), {-1}, true) + 0.1), x.dtype());
      },
      [](const Tensor& x) { return x.rank() >= 2 ? scaled(matmul(transpose(x), x), x.dim(-2)) : sum(x); },
      [](const Tensor& x) { return mean(square(x)); },
  };
  r.narrow = true;
  const DType dtype = r.chance(60) ? DType::bf16 : DType::f16;
  return cast(r.one_of(ops)(cast(bounded(r.value()), dtype)), r.real());
}

}  // namespace

const std::vector<RandomOp>& random_ops() {
  static const std::vector<RandomOp> ops{
      {elementwise, 8},
      {with_number, 5},
      {binary, 8},
      {discontinuous, 2, true},
      {compare, 2, true},
      {select, 3},
      {integers, 2, true},
      {from_integers, 1},
      {[](Recorder& r) { return move(r, move(r, r.value())); }, 5},
      {[](Recorder& r) { return move(r, r.value(true)); }, 3, true},
      {reduce, 5},
      {largest, 2},
      {ordered_value, 1, true},
      {softmax_of, 3},
      {norm, 3},
      {product, 3},
      {square_product, 1},
      {linear_layer, 3},
      {adapter, 3},
      {attend, 2},
      {loss_of_classes, 1},
      {indexed, 4},
      {rotate, 1},
      {narrowed, 1},
  };
  return ops;
}

}  // namespace wick::test
