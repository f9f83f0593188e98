// The fused gradient of attention against the gradient in f64, which the backend has by decomposition only
// and which finite differences check in attention_test.cpp.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "ops/op_harness.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

/// Gradients are sums of up to 500 terms of magnitude 1 or less that cancel; 16-bit ones also see the output
/// rounded.
Tolerance gradient_tolerance(DType dtype) {
  if (dtype == DType::bf16) return {1.6e-2, 2e-2};
  if (dtype == DType::f16) return {2e-3, 2e-3};
  return {1e-5, 2e-5};
}

Array draw(const Shape& shape, unsigned seed, DType dtype) {
  std::mt19937_64 random(seed);
  const Draw one = uniform(-1, 1);
  Array array{shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i) array.values.push_back(one(random, 0));
  return rounded(array, dtype);
}

struct Variant {
  std::string name;
  AttentionOptions options;
  Tensor mask;
  Tensor offset;
};

/// Masks repeat over heads; the logical one hides all keys from every third query.
std::vector<Variant> variants(std::int64_t m, std::int64_t n) {
  Array seen{{m, n}, {}};
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) seen.values.push_back(i % 3 != 1 && (i + j) % 4 != 0 ? 1.0 : 0.0);
  return {{"full", {}, {}, {}},
          {"causal", {.causal = true}, {}, {}},
          {"window", {.causal = true, .window = 9}, {}, {}},
          {"two-sided window", {.scale = 0.3, .window = 5}, {}, {}},
          {"offset", {.causal = true}, {}, Tensor::scalar<std::int64_t>(n / 2 - m)},
          {"hidden rows", {}, make_tensor(seen, DType::bool_), {}},
          {"added mask", {.causal = true}, make_tensor(draw({m, n}, 9, DType::f32), DType::f32), {}}};
}

using Qkv = std::vector<Tensor>;

std::vector<Tensor> gradients(const Qkv& x, const Variant& variant, const Tensor& weight) {
  const Tensor out = attention(x[0], x[1], x[2], variant.options, variant.mask, variant.offset);
  return grad(sum(out * cast(weight, out.dtype())), x);
}

void expect_as_in_f64(const Qkv& x, const Variant& variant, const std::string& context) {
  const DType dtype = x[0].dtype();
  const Tensor weight = make_tensor(draw(x[0].shape(), 4, dtype), dtype);
  const Qkv wide{cast(x[0], DType::f64), cast(x[1], DType::f64), cast(x[2], DType::f64)};
  const std::vector<Tensor> expected = gradients(wide, variant, weight);
  const std::vector<Tensor> found = gradients(x, variant, weight);
  for (std::size_t i = 0; i < 3; ++i)
    expect_close(
        found[i], read_tensor(expected[i]), gradient_tolerance(dtype),
        fmt::format("{} {} {} {}, input {}", name_of(dtype), x[0].shape().str(), variant.name, context, i));
}

struct Sizes {
  Shape q;
  Shape k;
};

std::vector<Sizes> sizes() {
  return {{{1, 1, 1, 8}, {1, 1, 1, 8}},         {{2, 4, 7, 16}, {2, 2, 7, 16}},
          {{1, 2, 33, 20}, {1, 1, 65, 20}},     {{1, 6, 65, 24}, {1, 2, 130, 24}},
          {{1, 2, 130, 64}, {1, 1, 130, 64}},   {{3, 2, 65, 3}, {3, 2, 33, 3}},
          {{1, 3, 66, 128}, {1, 1, 90, 128}},   {{1, 2, 70, 72}, {1, 2, 70, 72}},
          {{2, 3, 130, 128}, {2, 1, 193, 128}}, {{1, 7, 200, 64}, {1, 1, 200, 64}}};
}

Qkv draw_inputs(const Sizes& s, DType dtype) {
  return {make_tensor(draw(s.q, 1, dtype), dtype), make_tensor(draw(s.k, 2, dtype), dtype),
          make_tensor(draw(s.k, 3, dtype), dtype)};
}

TEST(AttentionGradient, EqualsTheDecompositionInF64) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const Sizes& s : sizes())
      for (const Variant& variant : variants(s.q[2], s.k[2]))
        expect_as_in_f64(draw_inputs(s, dtype), variant, "");
}

TEST(AttentionGradient, ReadsViewsInPlace) {
  // Heads of one projection to q, k and v: [batch, length, heads, d], sliced and permuted.
  for (DType dtype : {DType::f32, DType::bf16})
    for (std::int64_t d : {24, 64}) {
      const Tensor qkv = make_tensor(draw({2, 70, 8, d}, 5, dtype), dtype);
      const auto part = [&](std::int64_t first, std::int64_t last) {
        return permute(slice(qkv, 2, first, last), {0, 2, 1, 3});
      };
      for (const Variant& variant : variants(70, 70))
        expect_as_in_f64({part(0, 4), part(4, 6), part(6, 8)}, variant, "views");
    }
}

// Rotated queries and keys: on a GPU one step gives the gradients as they were before the rotation.
TEST(AttentionGradient, OfRotatedHeads) {
  const auto rotated = [](const Tensor& x) {
    const Tensor angles = make_tensor(draw({1, x.dim(2), x.dim(3) / 2}, 7, DType::f32), DType::f32) * 3;
    return rope(x, cos(angles), sin(angles));
  };
  const auto of = [&](const Qkv& x, const Tensor& weight) {
    const Tensor out = attention(rotated(x[0]), rotated(x[1]), x[2], {.causal = true});
    return grad(sum(out * cast(weight, out.dtype())), x);
  };
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const Sizes& s : {Sizes{{2, 4, 7, 16}, {2, 2, 7, 16}}, Sizes{{1, 7, 200, 64}, {1, 1, 200, 64}},
                           Sizes{{2, 3, 130, 128}, {2, 1, 130, 128}}, Sizes{{1, 2, 70, 72}, {1, 2, 70, 72}},
                           Sizes{{3, 2, 33, 6}, {3, 1, 33, 6}}}) {
      const Qkv x = draw_inputs(s, dtype);
      const Tensor weight = make_tensor(draw(s.q, 4, dtype), dtype);
      const std::vector<Tensor> expected =
          of({cast(x[0], DType::f64), cast(x[1], DType::f64), cast(x[2], DType::f64)}, weight);
      const std::vector<Tensor> found = of(x, weight);
      for (std::size_t i = 0; i < 3; ++i)
        expect_close(found[i], read_tensor(expected[i]), gradient_tolerance(dtype),
                     fmt::format("{} {}, input {}", name_of(dtype), s.q.str(), i));
    }
}

TEST(AttentionGradient, IsSharedAmongThreadsAndRepeatsItsBits) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  for (const Sizes& s : {Sizes{{1, 4, 300, 16}, {1, 2, 301, 16}}, Sizes{{3, 2, 71, 16}, {3, 2, 71, 16}}}) {
    const Variant variant = variants(s.q[2], s.k[2])[1];
    const Qkv x = draw_inputs(s, DType::f32);
    expect_as_in_f64(x, variant, "three threads");
    const auto run = [&] { return gradients(x, variant, ones(s.q))[1].to_vector<float>(); };
    EXPECT_EQ(run(), run());
  }
  omp_set_num_threads(threads);
}

TEST(AttentionGradient, OfNothing) {
  for (const Sizes& s : {Sizes{{1, 2, 0, 4}, {1, 1, 5, 4}}, Sizes{{1, 2, 3, 4}, {1, 1, 0, 4}},
                         Sizes{{0, 2, 3, 4}, {0, 1, 5, 4}}}) {
    const Qkv x{ones(s.q), ones(s.k), ones(s.k)};
    for (const Tensor& g : grad(sum(attention(x[0], x[1], x[2])), x))
      for (float value : g.to_vector<float>()) EXPECT_EQ(value, 0.0f);
  }
}

TEST(AttentionGradient, FlowsToTheMaskToo) {
  const Sizes s{{2, 4, 9, 8}, {2, 2, 11, 8}};
  const Qkv x = draw_inputs(s, DType::f32);
  const Array mask = draw({4, 1, 11}, 6, DType::f32);
  const auto of = [&](DType dtype) {
    const Tensor m = make_tensor(mask, dtype);
    const Tensor out = attention(cast(x[0], dtype), cast(x[1], dtype), cast(x[2], dtype), {}, m);
    return grad(sum(out * out), {m})[0];
  };
  expect_close(of(DType::f32), read_tensor(of(DType::f64)), gradient_tolerance(DType::f32), "mask");
}

}  // namespace
}  // namespace wick::test
