#include "optimize/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;

/// A chain of products, and the sum of each; the sum of the last one is asked for first.
std::vector<Tensor> sums_of_a_chain(int length) {
  Tensor y = normal({64, 64});
  const Tensor w = normal({64, 64}, DType::f32, 2) / 8.0;
  std::vector<Tensor> sums;
  for (int i = 0; i < length; ++i) {
    y = matmul(y, w);
    sums.push_back(sum(y));
  }
  std::reverse(sums.begin(), sums.end());
  return sums;
}

TEST(Schedule, SumsAreTakenWhenTheirInputIsThere) {
  constexpr int length = 20;
  const std::uint64_t value = 64 * 64 * sizeof(float);
  EXPECT_LT(plan_memory(sums_of_a_chain(length)).arena_bytes, 4 * value);
  const DisablePassesScope without({"schedule"});
  EXPECT_GE(plan_memory(sums_of_a_chain(length)).arena_bytes, length * value);
}

TEST(Schedule, ChangesNoResult) {
  test::expect_same_results("schedule", [] { return sums_of_a_chain(7); });
  test::expect_same_results("schedule", [] {
    const Tensor w = normal({16, 16});
    Tensor y = normal({5, 16}, DType::f32, 2);
    for (int i = 0; i < 4; ++i) y = y + tanh(matmul(y, w));
    return grad(mean(square(y)), {w});
  });
}

/// What only depends on data is computed when it is needed, however large it is.
TEST(Schedule, ValuesOfDataAloneAreNotTakenEarly) {
  std::vector<Tensor> sums;
  Tensor y = normal({1, 8});
  for (std::uint64_t i = 0; i < 10; ++i) {
    const Tensor w = normal({8, 4096}, DType::f32, i);
    y = matmul(matmul(y, tanh(w)), transpose(w)) / 4096.0;
    sums.push_back(sum(y));
  }
  std::reverse(sums.begin(), sums.end());
  EXPECT_LT(plan_memory(sums).arena_bytes, 2 * 8 * 4096 * sizeof(float));
}

TEST(Schedule, LeavesAGraphAloneWhereNothingIsGained) {
  const Tensor x = normal({8, 8});
  const Graph graph = test::graph_of({sum(exp(x)), mean(x)});
  const Graph after = schedule(graph, test::pass_context());
  ASSERT_EQ(after.nodes.size(), graph.nodes.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) EXPECT_EQ(after.nodes[i].op, graph.nodes[i].op);
}

TEST(Schedule, KeepsTheGraphWhole) {
  const Graph graph = test::graph_of(sums_of_a_chain(9));
  const Graph after = schedule(graph, test::pass_context());
  verify(after, "schedule");
  EXPECT_EQ(after.nodes.size(), graph.nodes.size());
  EXPECT_EQ(after.outputs.size(), graph.outputs.size());
  EXPECT_NE(after.outputs, graph.outputs);
}

}  // namespace
}  // namespace wick
