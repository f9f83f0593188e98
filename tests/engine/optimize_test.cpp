#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "backend_with.h"
#include "optimize/common_subexpressions.h"
#include "optimize/dead_nodes.h"
#include "optimize/lower.h"
#include "optimize/pipeline.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/memory.h"
#include "plan/plan.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

using test::count_op;
using test::graph_of;
using test::pass_context;

TEST(Optimize, EqualSubexpressionsBecomeOne) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2}, {2});
  const Tensor b = Tensor::from(std::vector<float>{3, 4}, {2});
  const Graph before = graph_of({exp(a + b) * exp(a + b) + exp(b)});
  EXPECT_EQ(count_op(before, "exp"), 3u);
  const Graph after =
      eliminate_dead_nodes(eliminate_common_subexpressions(before, pass_context()), pass_context());
  EXPECT_EQ(count_op(after, "exp"), 2u);
  EXPECT_EQ(count_op(after, "add"), 2u);
  verify(after, "test");
}

TEST(Optimize, AttributesKeepExpressionsApart) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2});
  const Graph after = eliminate_common_subexpressions(graph_of({sum(a, {0}) + sum(a, {1})}), pass_context());
  EXPECT_EQ(count_op(after, "sum"), 2u);
}

TEST(Optimize, UnusedNodesDisappear) {
  Graph graph = graph_of({zeros({2}) + 1, exp(zeros({2}))});
  graph.outputs.pop_back();
  EXPECT_EQ(count_op(eliminate_dead_nodes(graph, pass_context()), "exp"), 0u);
}

TEST(Optimize, CompositesWithoutAKernelAreDecomposed) {
  PassContext all = pass_context();
  all.decompose_all = true;
  const Graph lowered = lower(graph_of({softmax(zeros({3, 5}))}), all);
  EXPECT_EQ(count_op(lowered, "softmax"), 0u);
  EXPECT_GE(count_op(lowered, "exp"), 1u);
  verify(lowered, "lower");
}

TEST(Optimize, TheVerifierFindsWhatIsWrong) {
  Graph graph = graph_of({zeros({2, 3}) + 1});
  graph.nodes.back().spec.dtype = DType::f64;
  try {
    verify(graph, "a test");
    FAIL();
  } catch (const InternalError& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("graph verifier, after a test"));
    EXPECT_THAT(e.what(), ::testing::HasSubstr("add"));
  }
}

/// Counts what is asked of kernels while the backend's device is not the one in use.
class OneOfSeveralDevices final : public test::BackendWith {
 public:
  OneOfSeveralDevices() : BackendWith({}) {}
  std::unique_ptr<DeviceScope> use_device() const override {
    struct Use final : DeviceScope {
      explicit Use(int& count) : uses(++count) {}
      ~Use() override { --uses; }
      int& uses;
    };
    return std::make_unique<Use>(uses);
  }
  const KernelEntry* find(const Op& op) const override {
    ++(uses > 0 ? asked : asked_elsewhere);
    return BackendWith::find(op);
  }
  mutable int uses = 0;
  mutable int asked = 0;
  mutable int asked_elsewhere = 0;
};

TEST(Plan, KernelsAreChosenAndPreparedForTheDeviceOfThePlan) {
  const OneOfSeveralDevices backend;
  const Tensor x = test::normal({3, 5});
  Graph graph = optimize(graph_of({softmax(x * 2) + matmul(x, test::normal({5, 5}))}), {backend, false});
  const int by_passes = backend.asked;
  EXPECT_GT(by_passes, 0);
  EXPECT_NE(make_plan(std::move(graph), backend), nullptr);
  EXPECT_GT(backend.asked, by_passes);
  EXPECT_EQ(backend.asked_elsewhere, 0);
  EXPECT_EQ(backend.uses, 0);
}

TEST(ArenaPlanner, ReusesWhatIsFree) {
  ArenaPlanner arena;
  const auto a = arena.allocate(100);
  const auto b = arena.allocate(200);
  EXPECT_EQ(arena.size(), 128u + 256u);
  arena.release(a, 100);
  EXPECT_EQ(arena.allocate(64), a);
  arena.release(a, 64);
  arena.release(b, 200);
  EXPECT_EQ(arena.allocate(384), 0u);
  EXPECT_EQ(arena.size(), 384u);
  EXPECT_EQ(arena.allocate(1), 384u);
}

TEST(Plan, AChainNeedsTwoBuffersAtMost) {
  Tensor x = Tensor::from(std::vector<float>(1024, 1.0f), {1024});
  for (int i = 0; i < 50; ++i) x = exp(x) * 0.5;
  const PassContext passes = pass_context();
  const auto plan = make_plan(optimize(graph_of({x}), passes), passes.backend);
  EXPECT_EQ(plan->result_bytes, (std::vector<std::uint64_t>{4096}));
  EXPECT_LE(plan->arena_bytes, 2 * 4096u + 64u);
}

}  // namespace
}  // namespace wick
