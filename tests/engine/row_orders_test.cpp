#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "optimize/print.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

// Steps that write their rows in the order that readers want.
namespace wick {
namespace {

using test::normal;

std::shared_ptr<const Plan> plan_of(const std::vector<Tensor>& outputs) {
  return make_plan(test::optimized(outputs), test::pass_context().backend);
}

std::ptrdiff_t copies(const Plan& plan) {
  return std::count_if(plan.steps.begin(), plan.steps.end(), [](const Step& step) { return step.is_copy(); });
}

constexpr std::int64_t batch = 2, length = 5, heads = 4, kv_heads = 2, d = 8;

Tensor heads_of(const Tensor& rows, std::int64_t count) {
  return permute(reshape(rows, {batch, length, count, d}), {0, 2, 1, 3});
}
Tensor rows_of(const Tensor& of_heads) {
  return reshape(permute(of_heads, {0, 2, 1, 3}), {batch, length, of_heads.dim(1) * d});
}

Tensor q(DType dtype = DType::f32) { return normal({batch, heads, length, d}, dtype, 1); }
Tensor k(DType dtype = DType::f32) { return normal({batch, kv_heads, length, d}, dtype, 2); }
Tensor v(DType dtype = DType::f32) { return normal({batch, kv_heads, length, d}, dtype, 3); }
Tensor mixed(DType dtype = DType::f32) { return attention(q(dtype), k(dtype), v(dtype), {.causal = true}); }
Tensor angles() { return normal({1, length, d / 2}, DType::f32, 4); }
Tensor rotated() { return rope(q(), cos(angles()), sin(angles())); }
Tensor weight() { return normal({heads * d, 3}, DType::f32, 5); }

struct Case {
  std::string name;
  std::function<std::vector<Tensor>()> record;
  std::ptrdiff_t copies;
};

std::vector<Case> cases() {
  return {
      {"attention", [] { return std::vector{matmul(rows_of(mixed()), weight())}; }, 0},
      {"rope", [] { return std::vector{matmul(rows_of(rotated()), weight())}; }, 0},
      {"read_strided_too",
       [] {
         const Tensor out = mixed();
         return std::vector{matmul(rows_of(out), weight()), rope(out, cos(angles()), sin(angles()))};
       },
       0},
      {"an_output_row_by_row", [] { return std::vector{rows_of(mixed())}; }, 0},
      // Somebody copies, whichever order it is: row-major then.
      {"an_output_of_heads",
       [] {
         const Tensor out = mixed();
         return std::vector{out, matmul(rows_of(out), weight())};
       },
       1},
      {"two_orders",
       [] {
         const Tensor out = mixed();
         return std::vector{matmul(rows_of(out), weight()),
                            matmul(reshape(out, {batch, length, heads * d}), weight())};
       },
       1},
      // Rows stay whole.
      {"columns",
       [] {
         return std::vector{
             matmul(reshape(permute(mixed(), {0, 1, 3, 2}), {batch, length, heads * d}), weight())};
       },
       1},
      // An elementwise op writes no other order.
      {"elementwise", [] { return std::vector{matmul(rows_of(exp(q())), weight())}; }, 1},
  };
}

class RowOrders : public ::testing::TestWithParam<Case> {};

TEST_P(RowOrders, SaveCopies) {
  const auto plan = plan_of(GetParam().record());
  EXPECT_EQ(copies(*plan), GetParam().copies) << print(plan->graph);
  for (const PlanOutput& output : plan->outputs) EXPECT_TRUE(output.layout.is_contiguous());
}

// The same products of operands that lie row by row.
TEST_P(RowOrders, GiveTheSameNumbers) {
  const std::vector<Tensor> found = GetParam().record();
  eval(found);
  const std::vector<Tensor> expected = [&] {
    const EagerScope one_by_one;
    return GetParam().record();
  }();
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_LE(test::distance(test::numbers(found[i]), test::numbers(expected[i]), 1.3e-6, 1e-5), 1.0);
}

INSTANTIATE_TEST_SUITE_P(Plans, RowOrders, ::testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

// Attention's gradient gives the heads side by side, as the products behind it read them.
TEST(RowOrders, GradientsOfProjectedHeadsTakeNoCopies) {
  const Tensor x = normal({batch, length, 6});
  const Tensor wq = normal({6, heads * d}, DType::f32, 2);
  const Tensor wk = normal({6, kv_heads * d}, DType::f32, 3);
  const Tensor wv = normal({6, kv_heads * d}, DType::f32, 4);
  const Tensor c = cos(angles());
  const Tensor s = sin(angles());
  const Tensor out =
      attention(rope(heads_of(matmul(x, wq), heads), c, s), rope(heads_of(matmul(x, wk), kv_heads), c, s),
                heads_of(matmul(x, wv), kv_heads), {.causal = true});
  const Tensor loss = sum(square(matmul(rows_of(out), weight())));
  const auto plan = plan_of(grad(loss, {x, wq, wk, wv}));
  EXPECT_EQ(copies(*plan), 0) << print(plan->graph);
}

}  // namespace
}  // namespace wick
