#include "optimize/fuse_rotations.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend_with.h"
#include "graph/record.h"
#include "ops/attention_gradient.h"
#include "ops/attributes.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "support/test_device.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;

constexpr std::string_view fused_op = "attention_rope_gradient";
constexpr std::int64_t length = 6, heads = 4, kv_heads = 2, d = 8;

struct Problem {
  Tensor q = normal({2, heads, length, d}, DType::f32, 1);
  Tensor k = normal({2, kv_heads, length, d}, DType::f32, 2);
  Tensor v = normal({2, kv_heads, length, d}, DType::f32, 3);
  Tensor angles = normal({1, length, d / 2}, DType::f32, 4);
  Tensor cos = wick::cos(angles);
  Tensor sin = wick::sin(angles);
  Tensor weight = normal({2, heads, length, d}, DType::f32, 5);

  Tensor loss(const Tensor& rotated_q, const Tensor& rotated_k) const {
    return sum(attention(rotated_q, rotated_k, v, {.causal = true}) * weight);
  }
  Tensor rotated(const Tensor& x) const { return rope(x, cos, sin); }
};

/// The graph that the pass gets, and what it makes of it on a backend that has the step.
Graph fused(const std::vector<Tensor>& outputs) {
  static const test::BackendWith backend({fused_op});
  const Graph graph = fuse_rotations(test::graph_of(outputs), backend.context());
  verify(graph, "fuse-rotations");
  return graph;
}

TEST(FuseRotations, GradientsThatAreOnlyRotatedBackAreOneStep) {
  const Problem p;
  const Graph graph = fused(grad(p.loss(p.rotated(p.q), p.rotated(p.k)), {p.q, p.k, p.v}));
  EXPECT_EQ(test::count_op(graph, fused_op), 1u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "attention_gradient"), 0u);
  EXPECT_EQ(test::count_op(graph, "rope"), 2u) << print(graph);  // those of the forward pass
}

TEST(FuseRotations, WhereNobodyReadsTheGradientOfKeys) {
  const Problem p;
  EXPECT_EQ(test::count_op(fused(grad(p.loss(p.rotated(p.q), p.rotated(p.k)), {p.q, p.v})), fused_op), 1u);
}

TEST(FuseRotations, WhatIsReadOtherwiseStays) {
  const Problem p;
  const auto expect_apart = [](const std::vector<Tensor>& outputs) {
    const Graph graph = fused(outputs);
    EXPECT_EQ(test::count_op(graph, fused_op), 0u) << print(graph);
    EXPECT_EQ(test::count_op(graph, "attention_gradient"), 1u);
  };
  // The gradient of the rotated q is a result, too.
  const Tensor q = p.rotated(p.q);
  expect_apart(grad(p.loss(q, p.rotated(p.k)), {q, p.q, p.k}));
  // k is not rotated, or otherwise.
  expect_apart(grad(p.loss(p.rotated(p.q), p.k), {p.q, p.k}));
  const Tensor other = normal({1, length, d / 2}, DType::f32, 6);
  expect_apart(grad(p.loss(p.rotated(p.q), rope(p.k, cos(other), sin(other))), {p.q, p.k}));
}

TEST(FuseRotations, OnlyWhereTheBackendHasTheStep) {
  const Problem p;
  const Graph before = test::graph_of(grad(p.loss(p.rotated(p.q), p.rotated(p.k)), {p.q, p.k}));
  EXPECT_EQ(print(fuse_rotations(before, test::pass_context())), print(before));
}

// The step by its decomposition.
TEST(FuseRotations, GivesTheSameNumbers) {
  const Problem p;
  const std::vector<Tensor> expected = grad(p.loss(p.rotated(p.q), p.rotated(p.k)), {p.q, p.k, p.v});
  const Tensor q = p.rotated(p.q);
  const Tensor k = p.rotated(p.k);
  const AttentionAttrs attrs{1 / std::sqrt(double{d}), 1, 0, 0, 0};
  const Tensor out = attention(q, k, p.v, {.causal = true});
  const Tensor packed =
      record(attention_rope_gradient_op(), std::vector{q, k, p.v, out, p.weight, p.cos, p.sin}, attrs, {});
  std::int64_t start = 0;
  for (const Tensor& gradient : expected) {
    const Tensor part = slice(packed, 0, start, start + gradient.elements());
    const Tensor rows = permute(gradient, {0, 2, 1, 3});
    EXPECT_LE(test::distance(test::numbers(reshape(part, rows.shape())), test::numbers(rows), 1.3e-6, 1e-5),
              1);
    start += gradient.elements();
  }
}

struct Sizes {
  Shape q;
  Shape k;
  AttentionOptions options;
};

class FuseRotationsOnGpu : public ::testing::TestWithParam<Sizes> {};

TEST_P(FuseRotationsOnGpu, IsTheStepAndGivesTheSameNumbers) {
  WICK_NEEDS_GPU();
  const Shape& q_shape = GetParam().q;
  const Shape& k_shape = GetParam().k;
  const AttentionOptions& options = GetParam().options;
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    const auto data = [&](const Shape& shape, std::uint64_t seed) {
      return normal(shape, dtype, seed).to(test::first_gpu());
    };
    const std::vector<Tensor> x{data(q_shape, 1), data(k_shape, 2), data(k_shape, 3)};
    const Tensor weight = data(q_shape, 4);
    const Tensor angles = normal({1, q_shape[2], q_shape[3] / 2}, DType::f32, 5).to(test::first_gpu());
    const auto gradients = [&] {
      const Tensor c = cos(angles);
      const Tensor s = sin(angles);
      return grad(sum(attention(rope(x[0], c, s), rope(x[1], c, s), x[2], options) * weight), x);
    };
    const std::vector<Tensor> found = gradients();
    const Graph graph = optimize(test::graph_of(found), {backend_for(test::first_gpu()), false});
    EXPECT_EQ(test::count_op(graph, fused_op), 1u) << print(graph);
    eval(found);
    const DisablePassesScope without({"fuse-rotations"});
    const std::vector<Tensor> expected = gradients();
    for (std::size_t i = 0; i < 3; ++i)
      // Without the step a gradient is rounded before it is rotated, by which elements near 0 are off by what
      // those that they are rotated with are.
      EXPECT_LE(test::distance(test::numbers(found[i]), test::numbers(expected[i]),
                               test::relative_tolerance(dtype), 2 * test::relative_tolerance(dtype)),
                1)
          << name_of(dtype) << " of input " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, FuseRotationsOnGpu,
    ::testing::Values(Sizes{{2, 4, 6, 8}, {2, 2, 6, 8}, {.causal = true}},
                      Sizes{{2, 7, 200, 64}, {2, 1, 200, 64}, {.causal = true}},
                      Sizes{{3, 4, 130, 128}, {3, 4, 130, 128}, {.causal = true, .window = 50}},
                      Sizes{{1, 6, 65, 24}, {1, 2, 65, 24}, {}},
                      Sizes{{1, 28, 70, 128}, {1, 4, 70, 128}, {}}));

}  // namespace
}  // namespace wick
