#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "optimize/pipeline.h"
#include "plan/plan.h"
#include "wick/eval.h"
#include "wick/ops.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph optimized(const Tensor& output) {
  const Walk w = walk(std::span(&output, 1), WalkThrough::unevaluated);
  return optimize(snapshot(w, std::vector<char>(w.order.size(), 0)), {backend_for(cpu), false});
}

std::size_t groups(const Graph& graph) {
  std::size_t n = 0;
  for (const GraphNode& node : graph.nodes) n += node.group != nullptr;
  return n;
}

Tensor mixed_chain(const Tensor& x, const Tensor& row, const Tensor& mask) {
  const Tensor scaled = exp(x * 0.25) + row;
  const Tensor chosen = where(greater(x, 0.5), tanh(scaled), scaled - x);
  return where(mask, chosen * chosen, neg(chosen)) / 3;
}

class FusedChain : public ::testing::TestWithParam<DType> {};

// f32 and f64 use the same tile functions op by op and fused, so the bits are equal. Narrow floats are
// rounded once instead of after each op: the difference is that of a few roundings of 2^-8 (bf16) or 2^-11
// (f16) on squares up to 30.
TEST_P(FusedChain, GivesWhatTheOpsGiveOneByOne) {
  const DType dtype = GetParam();
  const Tensor x = cast(random_normal(random_key(1), {37, 129}), dtype).eval();
  const Tensor row = cast(random_normal(random_key(2), {1, 129}), dtype).eval();
  const Tensor mask = greater(random_uniform(random_key(3), {37, 1}), 0.5).eval();
  const Tensor fused = mixed_chain(x, row, mask);
  EXPECT_GE(groups(optimized(fused)), 1u);
  const std::vector<double> lazy = cast(fused, DType::f64).to_vector<double>();
  std::vector<double> eager;
  {
    const EagerScope scope;
    eager = cast(mixed_chain(x, row, mask), DType::f64).to_vector<double>();
  }
  ASSERT_EQ(lazy.size(), eager.size());
  const double tolerance = dtype == DType::bf16 ? 0.5 : dtype == DType::f16 ? 0.06 : 0;
  for (std::size_t i = 0; i < lazy.size(); ++i) ASSERT_NEAR(lazy[i], eager[i], tolerance) << "element " << i;
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FusedChain,
                         ::testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST(Fusion, AChainBecomesOneStep) {
  const Tensor x = Tensor::from(std::vector<float>(100, 0.5f), {100});
  const Graph graph = optimized(tanh(exp(x) * x + 1) - x);
  EXPECT_EQ(groups(graph), 1u);
  EXPECT_EQ(graph.nodes.size(), 2u);  // the data and the group, which has the constant inside
}

TEST(Fusion, ALongChainIsCutIntoGroups) {
  Tensor x = Tensor::from(std::vector<double>(10, 1.0), {10});
  for (int i = 0; i < 200; ++i) x = x * 1.01 + 0.001;
  const Graph graph = optimized(x);
  EXPECT_LE(groups(graph), 2u);
  double expected = 1;
  for (int i = 0; i < 200; ++i) expected = expected * 1.01 + 0.001;
  EXPECT_NEAR(x.to_vector<double>()[3], expected, 1e-12 * expected);
}

TEST(Fusion, ManyDifferentConstantsAreSpreadOverGroups) {
  Tensor x = Tensor::from(std::vector<double>(10, 1.0), {10});
  double expected = 1;
  for (int i = 1; i <= 100; ++i) {
    x = x * (1 + 0.001 * i) - 0.01 * i;
    expected = expected * (1 + 0.001 * i) - 0.01 * i;
  }
  EXPECT_LE(groups(optimized(x)), 20u);
  EXPECT_NEAR(x.to_vector<double>()[7], expected, 1e-12 * std::abs(expected));
}

TEST(Fusion, AConstantHasTheValueThatItsDtypeHolds) {
  const Tensor x = Tensor::from(std::vector<float>{0.0f}, {1});
  // 0.1 is 0.10009765625 in bf16.
  EXPECT_EQ(cast(cast(x, DType::bf16) + 0.1, DType::f32).item<float>(), 0.10009765625f);
  const Tensor one = cast(Tensor::from(std::vector<float>{256.0f}, {1}), DType::bf16).eval();
  EXPECT_EQ(cast((one + 0.1) * 8, DType::f32).item<float>(), 2048.0f);
}

TEST(Fusion, WideningIsReadThroughByEveryGroup) {
  const DisablePassesScope apart({"merge-groups"});
  const Tensor x = cast(random_normal(random_key(5), {50}), DType::bf16).eval();
  const Tensor wide = cast(x, DType::f32);
  const std::vector<Tensor> outputs{exp(wide) + 1, sum(tanh(wide) * 2)};
  const Walk w = walk(outputs, WalkThrough::unevaluated);
  const Graph graph = optimize(snapshot(w, std::vector<char>(w.order.size(), 0)), {backend_for(cpu), false});
  for (const GraphNode& node : graph.nodes) EXPECT_FALSE(node.op && node.op->name == "cast");
  EXPECT_EQ(groups(graph), 2u);
  double total = 0;
  const std::vector<float> values = cast(x, DType::f32).to_vector<float>();
  for (float v : values) total += 2 * std::tanh(static_cast<double>(v));
  EXPECT_NEAR(outputs[1].item<float>(), total, 1e-4);
  EXPECT_NEAR(outputs[0].to_vector<float>()[3], std::exp(static_cast<double>(values[3])) + 1, 1e-5);
}

TEST(Fusion, WideningForAnOpOutsideGroupsIsKept) {
  const Tensor x = cast(random_normal(random_key(5), {4, 6}), DType::bf16).eval();
  const Tensor wide = cast(x, DType::f32);
  const Tensor y = sum(wide) + exp(wide);
  double expected = 0;
  for (float v : cast(x, DType::f32).to_vector<float>()) expected += static_cast<double>(v);
  const double first = std::exp(static_cast<double>(cast(x, DType::f32).to_vector<float>()[0]));
  EXPECT_NEAR(y.to_vector<float>()[0], expected + first, 1e-5);
}

TEST(Fusion, AValueWithUsersOutsideIsComputedOnce) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor shared = exp(x);
  const Tensor a = sum(shared * 2);
  const Tensor b = tanh(shared + 1);
  eval({a, b});
  EXPECT_NEAR(a.item<float>(), 2 * (std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-4);
  EXPECT_NEAR(b.to_vector<float>()[0], std::tanh(std::exp(1.0) + 1), 1e-6);
}

TEST(Fusion, AConversionToANarrowFloatRoundsInsideAChain) {
  const Tensor x = Tensor::from(std::vector<float>{1.00390625f}, {1});  // halfway between two bf16 numbers
  const Tensor rounded = cast(cast(x, DType::bf16), DType::f32) - x;
  EXPECT_EQ(rounded.item<float>(), -0.00390625f);
}

}  // namespace
}  // namespace wick
