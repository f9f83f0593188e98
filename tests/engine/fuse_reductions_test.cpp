#include "optimize/fuse_reductions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/reduction_group.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/eval.h"
#include "wick/explain.h"
#include "wick/memory.h"
#include "wick/ops.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

struct Case {
  std::string_view name;
  Tensor (*expression)(const Tensor& x, const Tensor& y, const std::vector<int>& axes);
};

const Case cases[] = {
    {"sum_of_squares", [](const Tensor& x, const Tensor&, const auto& axes) { return sum(square(x), axes); }},
    {"dot", [](const Tensor& x, const Tensor& y, const auto& axes) { return sum(x * y, axes, true); }},
    {"variance",
     [](const Tensor& x, const Tensor& y, const auto& axes) { return mean(square(x - y), axes); }},
    {"largest", [](const Tensor& x, const Tensor&, const auto& axes) { return max(abs(x), axes); }},
    {"smallest",
     [](const Tensor& x, const Tensor& y, const auto& axes) { return min(exp(x * 0.25) - y, axes, true); }},
    {"wide_sum", [](const Tensor& x, const Tensor& y,
                    const auto& axes) { return sum(cast(x, DType::f32) * cast(y, DType::f32), axes); }},
    {"count", [](const Tensor& x, const Tensor& y, const auto& axes) { return sum(greater(x, y), axes); }},
};

class ReductionGroup : public ::testing::TestWithParam<std::tuple<Case, DType>> {};

/// [5, 131, 259] over all axes, the first, the last, the middle one and both outer ones; other strides too.
TEST_P(ReductionGroup, ComputesElementsAsItGoes) {
  const Case& c = std::get<0>(GetParam());
  const DType dtype = std::get<1>(GetParam());
  const Tensor x = normal({5, 131, 259}, dtype);
  const Tensor turned = permute(normal({259, 131, 5}, dtype, 2), {2, 1, 0});
  const Tensor row = normal({131, 1}, dtype, 3);
  for (const std::vector<int>& axes : std::vector<std::vector<int>>{{}, {0}, {2}, {1}, {0, 2}, {0, 1}}) {
    for (const Tensor& y : {turned, row}) {
      const auto record = [&] { return std::vector<Tensor>{c.expression(x, y, axes)}; };
      const Graph graph = optimized(record());
      verify(graph, "fuse-reductions");
      EXPECT_EQ(test::count_op(graph, "reduction_group"), 1u) << print(graph);
      const Tensor fused = record()[0];
      const std::vector<double> with = test::numbers(fused);
      const DisablePassesScope apart({"fuse-reductions"});
      // Sums may cancel. What stays is the rounding of elements, which the 16-bit ones are spared (those of
      // up to 16, by 2^-9 of that), and of additions: a few standard deviations.
      const double count = static_cast<double>(x.elements()) / static_cast<double>(fused.elements());
      const double absolute = std::sqrt(count) * (dtype == DType::bf16 ? 0x1p-5 : 0x1p-20);
      EXPECT_LE(test::distance(with, test::numbers(record()[0]), test::relative_tolerance(fused.dtype()),
                               absolute + test::absolute_tolerance(fused.dtype())),
                1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ReductionGroup,
                         ::testing::Combine(::testing::ValuesIn(cases),
                                            ::testing::Values(DType::f32, DType::f64, DType::bf16)),
                         [](const auto& i) {
                           return std::string(std::get<0>(i.param).name) + "_" +
                                  std::string(name_of(std::get<1>(i.param)));
                         });

TEST(FuseReductions, NothingIsStoredInBetween) {
  const Tensor x = normal({1 << 18});
  const Tensor loss = sum(square(x) * 2.0);
  EXPECT_LE(plan_memory({loss}).arena_bytes, 4096u);
  EXPECT_EQ(explain({loss}).steps.size(), 1u);
  EXPECT_EQ(explain({loss}).steps[0].flops, 3.0 * (1 << 18));
}

TEST(FuseReductions, ElementsThatOthersReadAreStored) {
  const Tensor x = normal({300, 400});
  const Tensor e = exp(x);
  EXPECT_EQ(test::count_op(optimized({e, sum(e)}), "reduction_group"), 0u);
  EXPECT_EQ(test::count_op(optimized({e / sum(e, {-1}, true)}), "reduction_group"), 0u);
}

TEST(FuseReductions, ShortLinesAndPlainSumsStay) {
  const Tensor x = normal({300, 4});
  EXPECT_EQ(test::count_op(optimized({sum(exp(x), {-1})}), "reduction_group"), 0u);
  EXPECT_EQ(test::count_op(optimized({sum(x)}), "reduction_group"), 0u);
}

TEST(FuseReductions, TheSameBitsEachTime) {
  const Tensor x = normal({1000, 333});
  const float first = sum(square(x - 1)).item<float>();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(sum(square(x - 1)).item<float>(), first);
}

}  // namespace
}  // namespace wick
