#include "optimize/merge_groups.h"

#include <gtest/gtest.h>

#include <random>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/optimize.h"
#include "wick/optimizer.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

std::size_t results(const GraphNode& group) { return group.group->results.size(); }

std::size_t steps(const std::vector<Tensor>& outputs) {
  return make_plan(optimized(outputs), test::pass_context().backend)->steps.size();
}

TEST(MergeGroups, AResultThatIsReadOnIsStoredOnTheWay) {
  const Tensor x = normal({40});
  const Tensor shared = exp(x) * 2;
  const std::vector<Tensor> outputs{shared, tanh(shared) + x};
  const Graph graph = optimized(outputs);
  verify(graph, "merge-groups");
  EXPECT_EQ(results(test::only(graph, "elementwise_group")), 2u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "pick"), 1u);
  EXPECT_EQ(steps(outputs), 1u);
}

TEST(MergeGroups, GroupsThatReadTheSameBecomeOne) {
  const Tensor gate = normal({8, 5});
  const Tensor up = normal({8, 5}, DType::f32, 2);
  const Tensor grad = normal({8, 5}, DType::f32, 3);
  const Tensor s = sigmoid(gate);
  const std::vector<Tensor> outputs{matmul(grad * up * (s + gate * s * (1.0 - s)), normal({5, 3})),
                                    matmul(grad * (gate * s), normal({5, 3}, DType::f32, 4))};
  const Graph graph = optimized(outputs);
  EXPECT_EQ(results(test::only(graph, "elementwise_group")), 2u) << print(graph);
}

/// The gradients of silu(gate) up, for `grad` of the whole.
std::vector<Tensor> gradients_of_gated(const Tensor& gate, const Tensor& up, const Tensor& grad) {
  const Tensor s = sigmoid(gate);
  return {grad * (gate * s), grad * up * (s + gate * s * (1.0 - s))};
}

/// Of all groups and elementwise ops outside of them.
std::size_t elementwise_results(const Graph& graph) {
  std::size_t count = 0;
  for (const GraphNode& node : graph.nodes)
    if (node.group || (node.op && node.op->elementwise)) count += node.group ? results(node) : 1;
  return count;
}

TEST(MergeGroups, WhatGradientsShareGoesWithThemAndNotWithTheForwardPass) {
  const Tensor gate = normal({8, 5});
  const Tensor up = normal({8, 5}, DType::f32, 2);
  const Tensor grad = matmul(silu(gate) * up, normal({5, 5}));
  const Graph graph = optimized(gradients_of_gated(gate, up, grad));
  verify(graph, "merge-groups");
  EXPECT_EQ(elementwise_results(graph), 3u) << print(graph);  // and none that only groups read
}

/// As a checkpointed layer does: what `up` is comes behind a reader of its gradient, and a product that reads
/// the layer's values comes last.
std::vector<Tensor> recomputed_layer() {
  const Tensor gate = matmul(normal({8, 4}), normal({4, 5}));
  const Tensor grad = normal({8, 5}, DType::f32, 3);
  const Tensor out = normal({5, 3});
  const Tensor up = matmul(normal({8, 4}), normal({4, 5}, DType::f32, 2));
  const std::vector<Tensor> gradients = gradients_of_gated(gate, up, grad);
  Tensor last = matmul(gradients[0], out);
  const Tensor far = matmul(gradients[1], out);
  for (std::uint64_t i = 0; i < 40; ++i) last = matmul(last, normal({3, 3}, DType::f32, i));
  return {last, far, matmul(silu(gate) * up, out)};
}

TEST(MergeGroups, AnInputThatComesBehindAReaderIsComputedSooner) {
  const Graph graph = optimized(recomputed_layer());
  verify(graph, "merge-groups");
  EXPECT_EQ(results(test::only(graph, "elementwise_group")), 3u) << print(graph);
  test::expect_same_results("merge-groups", recomputed_layer);
}

TEST(MergeGroups, AnInputBehindMoreThanAFewNodesIsNot) {
  const Tensor gate = matmul(normal({8, 4}), normal({4, 5}));
  const Tensor grad = normal({8, 5}, DType::f32, 3);
  Tensor up = matmul(normal({8, 4}), normal({4, 5}, DType::f32, 2));
  const Tensor square = normal({5, 5}, DType::f32, 4);
  for (int i = 0; i < 50'000; ++i) up = matmul(up, square);
  const std::vector<Tensor> gradients = gradients_of_gated(gate, up, grad);
  Tensor last = matmul(gradients[0], square);
  for (int i = 0; i < 40; ++i) last = matmul(last, square);
  const Graph graph = optimized({last, matmul(gradients[1], square)});
  EXPECT_GT(elementwise_results(graph), 2u) << "what gradients share lies in memory";
}

TEST(MergeGroups, WhatIsFarStaysThereWhereItsInputsAreReadLaterStill) {
  const Tensor x = exp(normal({8, 5}));
  Tensor between = matmul(tanh(x) * 3.0, normal({5, 5}));
  for (std::uint64_t i = 0; i < 40; ++i) between = matmul(between, normal({5, 5}, DType::f32, i));
  const Graph graph = optimized({between, matmul(sin(x) * 2.0, normal({5, 2})), matmul(x, normal({5, 2}))});
  verify(graph, "merge-groups");
  EXPECT_EQ(test::count_op(graph, "elementwise_group"), 2u) << print(graph);
}

TEST(MergeGroups, AnInputThatNeedsTheReaderIsNot) {
  const Tensor gate = normal({8, 5});
  const Tensor shared = exp(gate) * 2.0;
  const Tensor first = matmul(shared, normal({5, 5}));
  const std::vector<Tensor> outputs{first, tanh(shared) * matmul(first, normal({5, 5}, DType::f32, 2))};
  const Graph graph = optimized(outputs);
  verify(graph, "merge-groups");
  EXPECT_EQ(test::count_op(graph, "matmul"), 2u);
  EXPECT_EQ(elementwise_results(graph), 2u) << print(graph);
}

TEST(MergeGroups, AnOptimizerStepIsOnePassAParameter) {
  const std::vector<Tensor> parameters{normal({16, 4}), normal({30})};
  const std::vector<Tensor> gradients{normal({16, 4}, DType::f32, 2), normal({30}, DType::f32, 3)};
  AdamW optimizer({}, parameters);
  const Tensor proceed = full({}, 1, DType::bool_).eval().detach();
  std::vector<Tensor> outputs = optimizer.step(parameters, gradients, 1e-3, proceed);
  for (const Tensor& moment : optimizer.pending()) outputs.push_back(moment);
  const Graph graph = optimized(outputs);
  std::size_t groups = 0;
  for (const GraphNode& node : graph.nodes)
    if (node.group && results(node) == 3) ++groups;
  EXPECT_EQ(groups, 2u) << print(graph);
  EXPECT_EQ(steps(outputs), 2u) << print(graph);
}

TEST(MergeGroups, AnOptimizerStepOfManyParametersIsOnePassAParameterToo) {
  std::vector<Tensor> parameters;
  std::vector<Tensor> gradients;
  for (std::uint64_t i = 0; i < 60; ++i) {
    parameters.push_back(normal({5, 7}, DType::f32, i));
    gradients.push_back(matmul(normal({5, 3}), normal({3, 7}, DType::f32, i)));
  }
  const Tensor norm = global_norm(gradients);
  AdamW optimizer({}, parameters);
  // Moments before parameters, as a training step has them: what belongs to one parameter is far apart.
  std::vector<Tensor> updated =
      optimizer.step(parameters, clip_by_global_norm(gradients, norm, 1.0), 1e-3, is_finite(norm));
  std::vector<Tensor> outputs = optimizer.pending();
  outputs.insert(outputs.end(), updated.begin(), updated.end());
  const DisablePassesScope apart({"batch-groups"});
  const Graph graph = optimized(outputs);
  std::size_t updates = 0;
  for (const GraphNode& node : graph.nodes)
    if (node.group && results(node) == 3) ++updates;
  EXPECT_EQ(updates, 60u);
}

TEST(MergeGroups, AnUpdateTakesThePlaceOfWhatItUpdates) {
  const std::int64_t count = 1 << 16;
  Tensor m = normal({count});
  Tensor p = normal({count}, DType::f32, 2);
  const std::vector<float> m_before = m.to_vector<float>();
  const std::vector<float> p_before = p.to_vector<float>();
  m = m * 0.9 + 1;
  p = p - m * 0.1;
  EXPECT_EQ(plan_memory({p, m}).result_bytes, 2u * 4 * count);  // with the old ones kept
  const std::uint64_t before = peak_bytes();
  reset_peak_bytes();
  eval({p, m}, History::drop);
  EXPECT_LE(peak_bytes(), std::max<std::uint64_t>(before, 1) + 4096);
  const std::vector<float> m_after = m.to_vector<float>();
  const std::vector<float> p_after = p.to_vector<float>();
  for (std::size_t i = 0; i < m_after.size(); ++i) {
    const float moment = m_before[i] * 0.9f + 1;
    ASSERT_EQ(m_after[i], moment);
    ASSERT_EQ(p_after[i], p_before[i] - moment * 0.1f);
  }
}

TEST(MergeGroups, WhatNeedsAResultInBetweenStaysBehindIt) {
  const Tensor x = normal({6, 10});
  const Tensor e = exp(x * 3) + 1;
  const std::vector<Tensor> outputs{e / sum(e, {-1}, true)};
  EXPECT_EQ(test::count_op(optimized(outputs), "pick"), 0u);
  test::expect_same_results("merge-groups", [&] { return outputs; });
}

TEST(MergeGroups, OtherShapesStayApart) {
  const Tensor x = normal({12});
  EXPECT_EQ(test::count_op(optimized({exp(x) + 1, tanh(x * normal({3, 12}))}), "pick"), 0u);
}

TEST(MergeGroups, ARoundedValueIsNotReadBeforeItIsRounded) {
  const Tensor x =
      Tensor::from(std::vector<float>{1.00390625f, 3.0f}, {2});  // halfway between two bf16 numbers
  const Tensor rounded = cast(x * 1.0f + 0.0, DType::bf16);
  const Tensor difference = cast(rounded, DType::f32) - x;
  eval({rounded, difference});
  EXPECT_EQ(difference.to_vector<float>()[0], -0.00390625f);
}

/// Sums, products and elementwise ops that read any earlier value.
std::vector<Tensor> random_graph(unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::vector<Tensor> values;
  for (std::uint64_t i = 0; i < 4; ++i) values.push_back(normal({6, 6}, DType::f32, i));
  for (int n = 0; n < 60; ++n) {
    const Tensor a = values[pick(values.size())];
    const Tensor b = values[pick(values.size())];
    switch (pick(10)) {
      case 0: values.push_back(matmul(a, b) * 0.1); break;
      case 1: values.push_back(a * sum(b, {0}, true)); break;
      case 2: values.push_back(cast(cast(a * 0.5, DType::bf16), DType::f32)); break;
      case 3: values.push_back(where(greater(a, b), a, b * 0.25)); break;
      case 4: values.push_back(transpose(a) + b); break;
      case 5: values.push_back(maximum(a, b)); break;
      case 6: values.push_back(sigmoid(a) * b); break;
      default: values.push_back(tanh(a + b) - 0.5 * a); break;
    }
  }
  std::vector<Tensor> outputs;
  for (int n = 0; n < 5; ++n) outputs.push_back(values[values.size() - 1 - pick(30)]);
  return outputs;
}

class RandomGraph : public ::testing::TestWithParam<unsigned> {};

// The same tile functions compute the same numbers in another order, so every bit is equal.
TEST_P(RandomGraph, GivesTheSameBits) {
  const std::vector<Tensor> outputs = random_graph(GetParam());
  verify(optimized(outputs), "merge-groups");
  test::expect_same_results(
      "merge-groups", [] { return random_graph(GetParam()); }, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraph, ::testing::Range(0u, 40u));

TEST(MergeGroups, WhatNobodyReadsKeepsNoRegister) {
  // `simplify` finds that the square of x is never taken, and leaves it where other passes do not clear away.
  const DisablePassesScope scope({"dead-nodes", "recognize"});
  const Tensor x = normal({40});
  Tensor total = exp(x) + x;
  for (int i = 0; i < 8; ++i) {
    const Tensor unread = sin(x * (i + 0.5)) * cos(x);
    total = total + where(full({40}, 1, DType::bool_), tanh(x * (i + 0.5)), unread);
  }
  double expected = std::exp(x.to_vector<float>()[3]) + x.to_vector<float>()[3];
  for (int i = 0; i < 8; ++i) expected += std::tanh(x.to_vector<float>()[3] * (i + 0.5));
  EXPECT_NEAR(total.to_vector<float>()[3], expected, 1e-5);
}

}  // namespace
}  // namespace wick
