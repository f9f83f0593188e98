#include "optimize/fuse_residual_gradients.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/norm_gradient.h"
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

std::string_view gradient_name(bool centered) {
  return centered ? "layer_norm_gradient" : "rms_norm_gradient";
}

/// How many nodes of a graph are the gradient of a norm that is added to another, of a sum of `gradients`.
std::size_t count_added(const Graph& graph, std::int64_t gradients = 1) {
  return static_cast<std::size_t>(
      std::count_if(graph.nodes.begin(), graph.nodes.end(), [&](const GraphNode& node) {
        if (!node.op || (node.op->name != gradient_name(false) && node.op->name != gradient_name(true)))
          return false;
        const auto attrs = node.attrs.as<NormGradientAttrs>();
        return attrs.adds == 1 && attrs.gradients == gradients;
      }));
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
          EXPECT_EQ(test::only(graph, gradient_name(centered)).inputs.size(), weight.defined() ? 4u : 3u)
              << print(graph);
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

// The gradient of a result that several products read, as q, k and v do: their sum, in the order that the sum
// was written in.
TEST_P(ResidualGradient, OfASumIsOneStep) {
  const DType wide = GetParam() == DType::f32 ? DType::f64 : DType::f32;
  const Shape shape{5, 67};
  const Tensor x = normal(shape, GetParam());
  const Tensor residual = normal(shape, GetParam(), 2);
  const Tensor weight = normal({67}, GetParam(), 3);
  std::vector<Tensor> g;
  for (std::uint64_t seed : {4, 5, 6, 7}) g.push_back(normal(shape, GetParam(), seed));
  struct Sum {
    const char* name;
    Tensor (*of)(const std::vector<Tensor>& g);
    std::size_t steps;
  };
  for (const Sum& sum : {Sum{"two", [](const auto& a) { return a[0] + a[1]; }, 1},
                         Sum{"three", [](const auto& a) { return a[0] + a[1] + a[2]; }, 1},
                         Sum{"a sum behind", [](const auto& a) { return a[2] + (a[0] + a[1]); }, 1},
                         Sum{"four", [](const auto& a) { return a[0] + a[1] + a[2] + a[3]; }, 2},
                         Sum{"two sums", [](const auto& a) { return (a[0] + a[1]) + (a[2] + a[3]); }, 2}})
    for (bool centered : {false, true})
      for (bool added : {false, true}) {
        const auto record = [&](DType dtype) {
          std::vector<Tensor> terms;
          for (const Tensor& term : g) terms.push_back(cast(term, dtype));
          const Tensor gradient = norm_gradient(cast(x, dtype), sum.of(terms), centered, cast(weight, dtype));
          return std::vector<Tensor>{added ? cast(residual, dtype) + gradient : gradient};
        };
        const Graph graph = optimized(record(GetParam()));
        EXPECT_EQ(make_plan(graph, test::pass_context().backend)->steps.size(), sum.steps) << sum.name << "\n"
                                                                                           << print(graph);
        if (GetParam() == DType::f32)
          test::expect_same_results(
              pass, [&] { return record(DType::f32); }, 0);
        if (sum.steps > 1) continue;  // rounded on the way
        EXPECT_LE(test::distance(test::numbers(record(GetParam())[0]), test::numbers(record(wide)[0]),
                                 test::relative_tolerance(GetParam()), test::absolute_tolerance(GetParam())),
                  1)
            << sum.name;
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
  EXPECT_EQ(count_added(graph), 3u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "rms_norm_gradient"), 3u) << print(graph);
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
  EXPECT_EQ(count_added(graph), 2u) << print(graph);
  test::expect_same_results(pass, record);
}

TEST(FuseResidualGradients, AGradientThatOthersReadStays) {
  const Tensor x = normal({6, 32});
  const Tensor g = normal({6, 32}, DType::f32, 2);
  const Tensor gradient = norm_gradient(x, g, false);
  EXPECT_EQ(count_added(optimized({gradient + x, gradient})), 0u);
  EXPECT_EQ(count_added(optimized({gradient + x, sum(gradient)})), 0u);
  EXPECT_EQ(count_added(optimized({gradient + gradient})), 0u);
  const Tensor both = g + x;
  const Graph graph = optimized({norm_gradient(x, both, false), both});
  EXPECT_EQ(test::only(graph, "rms_norm_gradient").attrs.as<NormGradientAttrs>().gradients, 1)
      << print(graph);
}

TEST(FuseResidualGradients, OtherSumsStay) {
  const Tensor x = normal({6, 32});
  const Tensor g = normal({6, 32}, DType::f32, 2);
  const auto added = [&](const Tensor& sum) { return count_added(optimized({sum})); };
  EXPECT_EQ(added(norm_gradient(x, g, false) + normal({32}, DType::f32, 3)), 0u);        // broadcast
  EXPECT_EQ(added(norm_gradient(x, g, false) + normal({3, 6, 32}, DType::f32, 3)), 0u);  // of another shape
  EXPECT_EQ(added(norm_gradient(x, g, false) - normal({6, 32}, DType::f32, 3)), 0u);     // no sum
  EXPECT_EQ(added(norm_gradient(x, g, false) + transpose(normal({32, 6}), 0, 1)), 0u);  // columns as they lie
  EXPECT_EQ(added(norm_gradient(x, g, false) + normal({6, 32}, DType::f32, 3) * 2), 0u);  // one pass as it is
  const auto gradients = [&](const Tensor& of) {
    return test::only(optimized({norm_gradient(x, of, false)}), "rms_norm_gradient")
        .attrs.as<NormGradientAttrs>()
        .gradients;
  };
  EXPECT_EQ(gradients(g + normal({32}, DType::f32, 3)), 1);
  EXPECT_EQ(gradients(g + transpose(normal({32, 6}), 0, 1)), 1);
  EXPECT_EQ(gradients(g + exp(g)), 1);
}

TEST(ResidualGradient, ASumOfManyIsLeftAlone) {
  const Tensor x = normal({2, 3});
  const Tensor term = normal({2, 3}, DType::f32, 2);
  Tensor sum_of_many = matmul(x, normal({3, 3}));
  for (int i = 0; i < 100'000; ++i) sum_of_many = sum_of_many + term;
  const Tensor gradient = norm_gradient(x, sum_of_many, false);
  const Graph graph = fuse_residual_gradients(test::graph_of({gradient}), test::pass_context());
  EXPECT_EQ(test::count_op(graph, "add"), 100'000u);
}

}  // namespace
}  // namespace wick
