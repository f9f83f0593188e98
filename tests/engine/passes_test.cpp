#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "pass_harness.h"
#include "support/error_text.h"
#include "wick/error.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::count_op;
using test::graph_of;

TEST(Passes, AreListedInOrderWithWhatIsRequired) {
  const std::vector<PassInfo> list = optimizer_passes();
  ASSERT_EQ(list.size(), pipeline().size());
  const auto position = [&](std::string_view name) {
    return std::find_if(list.begin(), list.end(), [&](const PassInfo& p) { return p.name == name; }) -
           list.begin();
  };
  EXPECT_LT(position("lower"), position("fuse-elementwise"));
  EXPECT_TRUE(list[static_cast<std::size_t>(position("lower"))].required);
  EXPECT_FALSE(list[static_cast<std::size_t>(position("fuse-elementwise"))].required);
}

TEST(Passes, AScopeDisablesThemOnThisThreadAndNests) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  const auto fused = [&] { return count_op(test::optimized({tanh(exp(x) * x)}), "elementwise_group"); };
  EXPECT_EQ(fused(), 1u);
  {
    const DisablePassesScope outer({"fuse-elementwise"});
    EXPECT_EQ(fused(), 0u);
    {
      const DisablePassesScope inner({"common-subexpressions", "dead-nodes"});
      EXPECT_EQ(fused(), 0u);
    }
    EXPECT_EQ(fused(), 0u);
  }
  EXPECT_EQ(fused(), 1u);
}

TEST(Passes, PlansMadeWithDifferentPassesAreKeptApart) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const auto evaluate = [&] { return (tanh(exp(x) * 0.125) - x * 3).eval(); };
  evaluate();
  const PlanCacheStats warm = plan_cache_stats();
  {
    const DisablePassesScope without({"fuse-elementwise"});
    evaluate();
  }
  EXPECT_EQ(plan_cache_stats().misses, warm.misses + 1);
  evaluate();
  EXPECT_EQ(plan_cache_stats().misses, warm.misses + 1);
}

TEST(Passes, UnknownAndRequiredNamesAreRefused) {
  const auto disable = [](std::string_view name) { return [name] { DisablePassesScope({name}); }; };
  EXPECT_THAT(
      wick::testing::error_text<ArgumentError>(disable("no-such-pass")),
      ::testing::AllOf(::testing::HasSubstr("\"no-such-pass\""), ::testing::HasSubstr("fuse-elementwise")));
  EXPECT_THAT(wick::testing::error_text<ArgumentError>(disable("lower")), ::testing::HasSubstr("\"lower\""));
}

TEST(PrintGraph, WritesALineANode) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  EXPECT_EQ(print(graph_of({cast(exp(x) + x, DType::bf16)})),
            "%0 = leaf 0 : f32[2]\n"
            "%1 = exp(%0) : f32[2]\n"
            "%2 = add(%1, %0) : f32[2]\n"
            "%3 = cast(%2, to bf16) : bf16[2]\n"
            "outputs %3\n");
}

TEST(PrintGraph, ChangesAreWhatOnlyOneGraphHas) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  const Graph before = graph_of({exp(x) * exp(x)});
  const Graph after = graph_of({square(exp(x))});
  EXPECT_EQ(changes(before, before), "");
  EXPECT_EQ(changes(before, after),
            "- %1 = exp(%0) : f32[2]\n"
            "- %3 = mul(%1, %2) : f32[2]\n"
            "+ %2 = square(%1) : f32[2]\n");
}

}  // namespace
}  // namespace wick
