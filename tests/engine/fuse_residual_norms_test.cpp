#include "optimize/fuse_residual_norms.h"

#include <gtest/gtest.h>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/eval.h"
#include "wick/memory.h"
#include "wick/ops.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

constexpr double eps = 1e-5;

class ResidualNorm : public ::testing::TestWithParam<DType> {};

// The sum is rounded before it is normalized, as it would be in memory, and rows are the same kernel's.
TEST_P(ResidualNorm, GivesTheSameBitsInOneStep) {
  for (const Shape& shape : {Shape{5, 37}, Shape{2, 3, 64}, Shape{33, 1}, Shape{9, 1031}}) {
    const std::int64_t d = shape.dim(-1);
    const Tensor x = normal(shape, GetParam());
    const Tensor y = normal(shape, GetParam(), 2);
    const Tensor weight = normal({d}, GetParam(), 3);
    const Tensor bias = normal({d}, DType::f32, 4);
    const auto rms = [&] {
      const Tensor h = x + y;
      return std::vector<Tensor>{h, rms_norm(h, weight, eps)};
    };
    const auto layer = [&] {
      const Tensor h = x + y;
      return std::vector<Tensor>{layer_norm(h, weight, bias, eps), h};
    };
    const Graph graph = optimized(rms());
    EXPECT_EQ(test::only(graph, "add_rms_norm").inputs.size(), 3u) << print(graph);
    EXPECT_EQ(test::only(optimized(layer()), "add_layer_norm").inputs.size(), 4u);
    EXPECT_EQ(make_plan(graph, test::pass_context().backend)->steps.size(), 1u);
    test::expect_same_results("fuse-residual-norms", rms, 0);
    test::expect_same_results("fuse-residual-norms", layer, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ResidualNorm, ::testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST(FuseResidualNorms, PlainOpsAreRecognized) {
  const Tensor x = normal({6, 32});
  const Tensor y = normal({6, 32}, DType::f32, 2);
  const auto record = [&] {
    const Tensor h = x + y;
    return std::vector<Tensor>{h * 2.0 + rms_norm(h, {}, eps)};
  };
  const auto plain = [&] {
    const Tensor h = x + y;
    const Tensor scale = rsqrt(mean(square(h), {-1}, true) + 1e-6);
    return std::vector<Tensor>{h, h * scale};
  };
  EXPECT_EQ(test::count_op(optimized(record()), "add_rms_norm"), 1u);
  test::expect_same_results("fuse-residual-norms", record, 0);
  // The sum is read by the norm's own product too, so what was written in plain ops stays what it is.
  verify(optimized(plain()), "fuse-residual-norms");
}

TEST(FuseResidualNorms, ABlockOfLayersIsAChainOfThem) {
  const Tensor x = normal({6, 32});
  const Tensor w = normal({32, 32}, DType::f32, 2) * 0.1;
  const Tensor a = normal({4, 32}, DType::f32, 3) * 0.1;
  const Tensor b = normal({32, 4}, DType::f32, 4) * 0.1;
  eval({w, a, b});
  const Tensor weight = normal({32}, DType::f32, 5);
  const auto record = [&] {
    Tensor h = x;
    for (int i = 0; i < 3; ++i) h = h + lora_linear(rms_norm(h, weight, eps), w, {}, a, b, 2.0);
    return std::vector<Tensor>{rms_norm(h, {}, eps) + h};
  };
  const Graph graph = optimized(record());
  verify(graph, "the last pass");
  EXPECT_EQ(test::count_op(graph, "add_rms_norm"), 3u) << print(graph);
  test::expect_same_results("fuse-residual-norms", record, 0);
}

// The second sum reads the first before the first's norm does.
TEST(FuseResidualNorms, ASumOfASum) {
  const Tensor x = normal({6, 32});
  const Tensor y = normal({6, 32}, DType::f32, 2);
  const Tensor z = normal({6, 32}, DType::f32, 3);
  const auto record = [&] {
    const Tensor first = x + y;
    const Tensor second = first + z;
    return std::vector<Tensor>{second, rms_norm(second, {}, eps), rms_norm(first, {}, eps)};
  };
  const Graph graph = optimized(record());
  verify(graph, "fuse-residual-norms");
  EXPECT_EQ(test::count_op(graph, "add_rms_norm"), 2u) << print(graph);
  test::expect_same_results("fuse-residual-norms", record, 0);
}

TEST(FuseResidualNorms, OperandsThatDieAreOverwritten) {
  Tensor x = normal({64, 1024});
  Tensor y = normal({64, 1024}, DType::f32, 2);
  const std::vector<float> x_before = x.to_vector<float>();
  const std::vector<float> y_before = y.to_vector<float>();
  const std::uint64_t before = peak_bytes();
  reset_peak_bytes();
  x = x + y;
  y = layer_norm(x, {}, {}, eps);
  eval({x, y}, History::drop);
  EXPECT_LE(peak_bytes(), std::max<std::uint64_t>(before, 1) + 4096);
  const std::vector<float> sums = x.to_vector<float>();
  for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], x_before[i] + y_before[i]);
  const Tensor again = Tensor::from(sums, Shape{64, 1024});
  EXPECT_EQ(y.to_vector<float>(), layer_norm(again, {}, {}, eps).to_vector<float>());
}

TEST(FuseResidualNorms, ASumThatOnlyTheNormReadsStays) {
  const Tensor x = normal({6, 32});
  EXPECT_EQ(
      test::count_op(optimized({rms_norm(x + normal({6, 32}, DType::f32, 2), {}, eps)}), "add_rms_norm"), 0u);
}

TEST(FuseResidualNorms, AParameterThatComesTooLateStays) {
  const Tensor x = normal({6, 6});
  const Tensor h = x + normal({6, 6}, DType::f32, 2);
  // The weight is computed from the sum.
  const auto record = [&] { return std::vector<Tensor>{rms_norm(h, sum(h, {0}), eps), h}; };
  verify(optimized(record()), "fuse-residual-norms");
  EXPECT_EQ(test::count_op(optimized(record()), "add_rms_norm"), 0u);
}

TEST(FuseResidualNorms, OneRowAndBroadcastSumsStay) {
  const Tensor one = normal({1, 32}) + normal({1, 32}, DType::f32, 2);
  EXPECT_EQ(test::count_op(optimized({rms_norm(one, {}, eps), one}), "add_rms_norm"), 0u);
  const Tensor broadcast = normal({6, 32}) + normal({32}, DType::f32, 2);
  EXPECT_EQ(test::count_op(optimized({rms_norm(broadcast, {}, eps), broadcast}), "add_rms_norm"), 0u);
}

}  // namespace
}  // namespace wick
