#include "optimize/fuse_epilogues.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "backend/cpu/matmul_dnnl.h"
#include "ops/attributes.h"
#include "optimize/print.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/device.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/ops.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

struct Operands {
  explicit Operands(DType dtype, std::int64_t rows = 37, std::int64_t out = 24, std::int64_t in = 40)
      : x(normal({rows, in}, dtype)),
        weight(normal({out, in}, dtype, 2)),
        matrix(normal({in, out}, dtype, 3)),
        bias(normal({out}, dtype, 4)),
        residual(normal({rows, out}, dtype, 5)) {}
  Tensor x, weight, matrix, bias, residual;
};

struct Case {
  std::string_view name;
  Tensor (*expression)(const Operands&);
  Activation activation = Activation::none;
  Combination combination = Combination::none;
  bool has_bias = false;
};

const Case cases[] = {
    {"residual", [](const Operands& o) { return o.residual + linear(o.x, o.weight); }, Activation::none,
     Combination::add},
    {"bias_residual", [](const Operands& o) { return linear(o.x, o.weight, o.bias) + o.residual; },
     Activation::none, Combination::add, true},
    {"relu", [](const Operands& o) { return relu(linear(o.x, o.weight, o.bias)); }, Activation::relu,
     Combination::none, true},
    {"relu_residual", [](const Operands& o) { return o.residual + relu(linear(o.x, o.weight)); },
     Activation::relu, Combination::add},
    {"gelu", [](const Operands& o) { return gelu(linear(o.x, o.weight, o.bias)); }, Activation::gelu,
     Combination::none, true},
    {"gelu_tanh", [](const Operands& o) { return gelu_tanh(linear(o.x, o.weight, o.bias)); },
     Activation::gelu_tanh, Combination::none, true},
    {"silu", [](const Operands& o) { return silu(linear(o.x, o.weight)); }, Activation::silu},
    {"silu_times", [](const Operands& o) { return silu(linear(o.x, o.weight)) * o.residual; },
     Activation::silu, Combination::mul},
    {"everything", [](const Operands& o) { return gelu(linear(o.x, o.weight, o.bias)) + o.residual; },
     Activation::gelu, Combination::add, true},
    {"matrix_bias", [](const Operands& o) { return matmul(o.x, o.matrix) + o.bias; }, Activation::none,
     Combination::none, true},
    {"matrix_everything",
     [](const Operands& o) {
       return gelu_tanh(reshape(o.bias, Shape{1, o.bias.dim(0)}) + matmul(o.x, o.matrix)) + o.residual;
     },
     Activation::gelu_tanh, Combination::add, true},
    {"plain_silu",
     [](const Operands& o) {
       const Tensor y = matmul(o.x, transpose(o.weight));
       return y / (1.0 + exp(neg(y))) + o.residual;
     },
     Activation::silu, Combination::add},
    {"of_rows_of_rows",
     [](const Operands& o) {
       const auto stacked = [](const Tensor& t) { return reshape(t, Shape{1, t.dim(0), t.dim(1)}); };
       return gelu(linear(stacked(o.x), o.weight)) + stacked(o.residual);
     },
     Activation::gelu, Combination::add},
};

class Epilogue : public ::testing::TestWithParam<std::tuple<Case, DType>> {};

TEST_P(Epilogue, IsOneStepWithTheProduct) {
  const auto& [c, dtype] = GetParam();
  if (!DnnlMatmul::available(dtype)) GTEST_SKIP() << "this processor has no fast products of this dtype";
  const Operands operands(dtype);
  const std::vector<Tensor> outputs{c.expression(operands)};
  const Graph graph = optimized(outputs);
  const auto& step = test::only(graph, "linear_epilogue");
  ASSERT_NE(step.op, nullptr) << print(graph);
  const auto attrs = step.attrs.as<LinearEpilogueAttrs>();
  EXPECT_EQ(attrs.activation, c.activation);
  EXPECT_EQ(attrs.combination, c.combination);
  EXPECT_EQ(attrs.has_bias != 0, c.has_bias);
  EXPECT_EQ(make_plan(graph, test::pass_context().backend)->steps.size(), 1u) << print(graph);
}

// Without the pass a bf16 product of numbers up to 30 is rounded before what follows it, which may cancel
// against the residual.
TEST_P(Epilogue, GivesWhatTheOpsGiveOneByOne) {
  const auto& [c, dtype] = GetParam();
  const double absolute = dtype == DType::bf16 ? 0.06 : test::absolute_tolerance(dtype);
  for (const std::int64_t rows : {2, 37, 64}) {
    const Operands operands(dtype, rows);
    const std::vector<double> fused = test::numbers(c.expression(operands));
    const DisablePassesScope apart({"fuse-epilogues"});
    EXPECT_LE(test::distance(fused, test::numbers(c.expression(operands)), test::relative_tolerance(dtype),
                             absolute),
              1)
        << rows << " rows";
  }
}

/// Rows that fill no vector, no block of oneDNN's, or several; weights as they lie, and packed.
const std::int64_t shapes[][3] = {{1, 24, 40},  {2, 1, 1},     {7, 31, 65},    {8, 64, 128},
                                  {64, 96, 70}, {513, 40, 33}, {130, 300, 257}};

template <typename Check>
void for_each_product(DType dtype, const Check& check) {
  const int before = threads();
  for (const int count : {1, 2})
    for (const auto& [rows, out, in] : shapes)
      for (const bool packed : {false, true}) {
        SCOPED_TRACE(
            fmt::format("{} x {} x {}, {} threads{}", rows, out, in, count, packed ? ", packed" : ""));
        set_threads(count);
        const Operands operands(dtype, rows, out, in);
        if (packed) {
          mark_weight(operands.weight);
          mark_weight(operands.matrix);
        }
        check(operands);
      }
  set_threads(before);
}

TEST(FuseEpilogues, F32HasTheBitsOfTheOpsOneByOne) {
  for_each_product(DType::f32, [](const Operands& operands) {
    for (const Case& c : cases) {
      const std::vector<double> fused = test::numbers(c.expression(operands));
      EXPECT_EQ(test::numbers(c.expression(operands)), fused) << c.name << ", again";
      const DisablePassesScope apart({"fuse-epilogues"});
      EXPECT_EQ(test::numbers(c.expression(operands)), fused) << c.name;
    }
  });
}

TEST(FuseEpilogues, ReluOf16BitsHasTheBitsOfTheOp) {
  for_each_product(DType::bf16, [](const Operands& o) {
    const auto record = [&] { return relu(linear(o.x, o.weight, o.bias)); };
    const std::vector<double> fused = test::numbers(record());
    const DisablePassesScope apart({"fuse-epilogues"});
    EXPECT_EQ(test::numbers(record()), fused);
  });
}

INSTANTIATE_TEST_SUITE_P(Cases, Epilogue,
                         ::testing::Combine(::testing::ValuesIn(cases),
                                            ::testing::Values(DType::f32, DType::bf16)),
                         [](const auto& i) {
                           return std::string(std::get<0>(i.param).name) + "_" +
                                  std::string(name_of(std::get<1>(i.param)));
                         });

TEST(FuseEpilogues, GateAndUpAreTwoSteps) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (!DnnlMatmul::available(dtype)) GTEST_SKIP() << "this processor has no fast products of this dtype";
    const Operands o(dtype);
    const Tensor up = normal({24, 40}, dtype, 9);
    const Graph graph = optimized({swiglu(linear(o.x, o.weight), linear(o.x, up))});
    EXPECT_EQ(make_plan(graph, test::pass_context().backend)->steps.size(), 2u) << print(graph);
  }
}

TEST(FuseEpilogues, WhatSomebodyElseReadsStays) {
  const Operands o(DType::f32);
  const Tensor product = linear(o.x, o.weight);
  EXPECT_EQ(test::count_op(optimized({silu(product), product}), "linear_epilogue"), 0u);
  const Tensor loss = sum(silu(linear(o.x, o.weight)));
  EXPECT_EQ(test::count_op(optimized({loss, grad(loss, {o.weight})[0]}), "linear_epilogue"), 0u);
}

TEST(FuseEpilogues, OneElementwisePassKeepsWhatItComputesAnyway) {
  const Operands o(DType::f32);
  EXPECT_EQ(test::count_op(optimized({tanh(relu(linear(o.x, o.weight)) * 2)}), "linear_epilogue"), 0u);
  const Tensor other = exp(o.residual);
  EXPECT_EQ(test::count_op(optimized({linear(o.x, o.weight) + other}), "linear_epilogue"), 0u);
}

TEST(FuseEpilogues, AnActivationStaysInTheGroupOfAllItsReaders) {
  const Operands o(DType::f32);
  const Tensor active = silu(linear(o.x, o.weight));
  const Graph group = optimized({active * 2.0, active + o.residual});
  EXPECT_EQ(test::count_op(group, "linear_epilogue"), 0u) << print(group);
  EXPECT_EQ(make_plan(group, test::pass_context().backend)->steps.size(), 2u) << print(group);

  const Graph also_read_otherwise = optimized({active * 2.0, matmul(active, o.weight)});
  EXPECT_EQ(test::count_op(also_read_otherwise, "linear_epilogue"), 1u) << print(also_read_otherwise);
}

TEST(FuseEpilogues, AReductionComputesAnActivationWhereItCan) {
  const Operands o(DType::f32);
  const Graph whole = optimized({sum(gelu(linear(o.x, o.weight)) + o.residual)});
  EXPECT_EQ(test::count_op(whole, "linear_epilogue"), 0u) << print(whole);
  EXPECT_EQ(test::count_op(whole, "reduction_group"), 1u) << print(whole);

  // Too short for a tile.
  const Graph rows = optimized({sum(gelu(linear(o.x, o.weight)), {1})});
  EXPECT_EQ(test::count_op(rows, "linear_epilogue"), 1u) << print(rows);
}

TEST(FuseEpilogues, OtherShapesAreNoEpilogue) {
  const Operands o(DType::f32);
  EXPECT_EQ(test::count_op(optimized({matmul(o.x, o.matrix) + normal({37, 1})}), "linear_epilogue"), 0u);
  EXPECT_EQ(test::count_op(optimized({linear(o.x, o.weight) + normal({3, 37, 24})}), "linear_epilogue"), 0u);
  EXPECT_EQ(test::count_op(optimized({linear(o.x, o.weight) * 2.0}), "linear_epilogue"), 0u);
}

TEST(FuseEpilogues, ANonContiguousResidualIsRight) {
  const Operands o(DType::f32);
  const Tensor turned = normal({24, 37}, DType::f32, 8);
  test::expect_same_results("fuse-epilogues", [&] {
    return std::vector<Tensor>{linear(o.x, o.weight) + transpose(turned),
                               linear(slice(o.x, 0, 36, -38, -1), o.weight) + o.residual};
  });
}

TEST(FuseEpilogues, NaNStaysNaN) {
  std::vector<float> numbers(4 * 8, 1.0f);
  numbers[0] = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = Tensor::from(numbers, Shape{4, 8});
  const Tensor weight = full({8, 8}, 1.0).eval().detach();
  test::expect_same_results("fuse-epilogues", [&] {
    return std::vector<Tensor>{relu(linear(x, weight)), silu(linear(x, weight)), gelu(linear(x, weight)),
                               gelu_tanh(linear(x, weight))};
  });
}

}  // namespace
}  // namespace wick
