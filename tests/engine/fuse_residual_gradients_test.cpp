#include "optimize/fuse_residual_gradients.h"

#include <gtest/gtest.h>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

constexpr double eps = 1e-5;
constexpr std::string_view pass = "fuse-residual-gradients";

/// The gradient of a norm of x, for a given gradient of its result.
Tensor norm_gradient(const Tensor& x, const Tensor& grad_of_result, bool centered,
                     const Tensor& weight = {}) {
  const Tensor y = centered ? layer_norm(x, weight, {}, eps) : rms_norm(x, weight, eps);
  return grad(sum(y * grad_of_result), {x})[0];
}

class ResidualGradient : public ::testing::TestWithParam<DType> {};

// The step rounds once: what a wider dtype gives, rounded, and in f32 the bits of two steps.
TEST_P(ResidualGradient, IsOneStepInEitherOrder) {
  const DType wide = GetParam() == DType::f32 ? DType::f64 : DType::f32;
  for (const Shape& shape : {Shape{5, 37}, Shape{2, 3, 64}, Shape{33, 1}, Shape{9, 1031}}) {
    const Tensor x = normal(shape, GetParam());
    const Tensor g = normal(shape, GetParam(), 2);
    const Tensor residual = normal(shape, GetParam(), 3);
    for (const Tensor& weight : {Tensor{}, normal({shape.dim(-1)}, GetParam(), 4)})
      for (bool centered : {false, true}) {
        const Tensor wide_weight = weight.defined() ? cast(weight, wide) : weight;
        const Tensor expected =
            norm_gradient(cast(x, wide), cast(g, wide), centered, wide_weight) + cast(residual, wide);
        for (bool residual_first : {false, true}) {
          const auto record = [&] {
            const Tensor gradient = norm_gradient(x, g, centered, weight);
            return std::vector<Tensor>{residual_first ? residual + gradient : gradient + residual};
          };
          const Graph graph = optimized(record());
          const char* const op = centered ? "layer_norm_gradient_add" : "rms_norm_gradient_add";
          EXPECT_EQ(test::only(graph, op).inputs.size(), weight.defined() ? 4u : 3u) << print(graph);
          EXPECT_EQ(make_plan(graph, test::pass_context().backend)->steps.size(), 1u) << print(graph);
          if (GetParam() == DType::f32) test::expect_same_results(pass, record, 0);
          EXPECT_LE(
              test::distance(test::numbers(record()[0]), test::numbers(expected),
                             test::relative_tolerance(GetParam()), test::absolute_tolerance(GetParam())),
              1);
        }
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ResidualGradient, ::testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST(FuseResidualGradients, ABlockOfLayersIsAChainOfThem) {
  const Tensor x = normal({6, 32});
  const Tensor w = normal({32, 32}, DType::f32, 2) * 0.1;
  const Tensor a = normal({4, 32}, DType::f32, 3) * 0.1;
  const Tensor b = normal({32, 4}, DType::f32, 4) * 0.1;
  eval({w, a, b});
  const Tensor weight = normal({32}, DType::f32, 5);
  const auto record = [&] {
    Tensor h = x;
    for (int i = 0; i < 3; ++i) h = h + lora_linear(rms_norm(h, weight, eps), w, {}, a, b, 2.0);
    return grad(sum(square(h)), {x, a, b});
  };
  const Graph graph = optimized(record());
  verify(graph, pass);
  EXPECT_EQ(test::count_op(graph, "rms_norm_gradient_add"), 3u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "rms_norm_gradient"), 0u) << print(graph);
  test::expect_same_results(pass, record);
}

// Both branches of a block read what was there before either.
TEST(FuseResidualGradients, SumsOfSeveralAreAChain) {
  const Tensor x = normal({6, 32});
  const Tensor g = normal({6, 32}, DType::f32, 2);
  const Tensor residual = normal({6, 32}, DType::f32, 3);
  const auto record = [&] {
    return std::vector<Tensor>{residual + norm_gradient(x, g, false) + norm_gradient(x * x, g, true)};
  };
  const Graph graph = optimized(record());
  verify(graph, pass);
  EXPECT_EQ(test::count_op(graph, "rms_norm_gradient_add"), 1u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "layer_norm_gradient_add"), 1u) << print(graph);
  test::expect_same_results(pass, record);
}

TEST(FuseResidualGradients, AGradientThatOthersReadStays) {
  const Tensor x = normal({6, 32});
  const Tensor g = normal({6, 32}, DType::f32, 2);
  const Tensor gradient = norm_gradient(x, g, false);
  EXPECT_EQ(test::count_op(optimized({gradient + x, gradient}), "rms_norm_gradient"), 1u);
  EXPECT_EQ(test::count_op(optimized({gradient + x, sum(gradient)}), "rms_norm_gradient"), 1u);
  EXPECT_EQ(test::count_op(optimized({gradient + gradient}), "rms_norm_gradient"), 1u);
}

TEST(FuseResidualGradients, OtherSumsStay) {
  const Tensor x = normal({6, 32});
  const Tensor g = normal({6, 32}, DType::f32, 2);
  const auto stays = [&](const Tensor& sum) {
    const Graph graph = optimized({sum});
    return test::count_op(graph, "rms_norm_gradient") == 1 &&
           test::count_op(graph, "rms_norm_gradient_add") == 0;
  };
  EXPECT_TRUE(stays(norm_gradient(x, g, false) + normal({32}, DType::f32, 3)));         // broadcast
  EXPECT_TRUE(stays(norm_gradient(x, g, false) + normal({3, 6, 32}, DType::f32, 3)));   // of another shape
  EXPECT_TRUE(stays(norm_gradient(x, g, false) - normal({6, 32}, DType::f32, 3)));      // no sum
  EXPECT_TRUE(stays(norm_gradient(x, g, false) + transpose(normal({32, 6}), 0, 1)));    // columns as they lie
  EXPECT_TRUE(stays(norm_gradient(x, g, false) + normal({6, 32}, DType::f32, 3) * 2));  // one pass as it is
}

}  // namespace
}  // namespace wick
