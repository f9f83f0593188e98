#include "backend/cuda/reduction_source.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "backend/cuda/runtime_compiler.h"
#include "ops/attributes.h"

// The kernels that are written for reductions of groups, compiled for real GPUs; no GPU is needed for that.
namespace wick::cuda {
namespace {

/// Ops that live as long as the groups that name them.
const Op& op_named(std::string_view name) {
  static auto& ops = *new std::map<std::string_view, Op>;
  Op& op = ops[name];
  op.name = name;
  return op;
}

/// (x - y)^2 2 in the first input's dtype.
ElementwiseGroup group_of(DType dtype) {
  ElementwiseGroup group;
  group.inputs = {dtype, dtype};
  const Attrs two = ConstantAttrs{2, static_cast<std::int64_t>(dtype)};
  group.instructions = {{&op_named("constant"), two, dtype, {}},
                        {&op_named("sub"), {}, dtype, {0, 1}},
                        {&op_named("square"), {}, dtype, {3}},
                        {&op_named("mul"), {}, dtype, {4, 2}}};
  group.results = {5};
  return group;
}

class ReductionSource : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override { setenv("WICK_KERNEL_CACHE", "off", 1); }
  void TearDown() override { unsetenv("WICK_KERNEL_CACHE"); }
};

TEST_P(ReductionSource, CompilesForEveryRuleAndShape) {
  const ElementwiseGroup group = group_of(GetParam());
  for (const std::string_view rule : {"SumOf<", "ExtremumOf<true, ", "ExtremumOf<false, "}) {
    for (const bool large : {false, true}) {
      const ElementwiseSource source = reduction_source(group, rule, large, 4, {true, false});
      EXPECT_EQ(source.constants.size(), 1u);
      for (const int capability : {80, 90}) {
        const std::string binary = compile(source.text, capability);
        EXPECT_EQ(binary.substr(1, 3), "ELF");
        EXPECT_NE(binary.find("reduce"), std::string::npos);
        EXPECT_NE(binary.find("combine"), std::string::npos);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ReductionSource,
                         ::testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32,
                                           DType::i64),
                         [](const auto& i) { return std::string(name_of(i.param)); });

/// How many elements are greater: a sum of booleans.
TEST(ReductionSourceTest, PredicatesAreCounted) {
  ElementwiseGroup group;
  group.inputs = {DType::f32, DType::f32};
  group.instructions = {{&op_named("greater"), {}, DType::bool_, {0, 1}}};
  group.results = {2};
  const ElementwiseSource source = reduction_source(group, "SumOf<", false, 4, {true, true});
  EXPECT_EQ(compile(source.text, 90).substr(1, 3), "ELF");
}

}  // namespace
}  // namespace wick::cuda
