#include "optimize/batch_groups.h"

#include <gtest/gtest.h>

#include <set>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "plan/plan.h"
#include "wick/memory.h"
#include "wick/optimize.h"
#include "wick/optimizer.h"

namespace wick {
namespace {

using test::normal;
using test::optimized;

/// Parameters of several shapes, empty and of one element too.
std::vector<Tensor> parameters() {
  return {normal({16, 4}), normal({30}, DType::f32, 2), normal({7, 5, 3}, DType::f32, 3), normal({0, 4}),
          normal({1})};
}

/// One clipped AdamW step on gradients that the parameters are made of.
std::vector<Tensor> clipped_step(const std::vector<Tensor>& values) {
  std::vector<Tensor> gradients;
  for (const Tensor& value : values) gradients.push_back(tanh(value) * 3.0);
  AdamW optimizer({}, values);
  const Tensor norm = global_norm(gradients);
  std::vector<Tensor> outputs =
      optimizer.step(values, clip_by_global_norm(gradients, norm, 1.0), 1e-2, is_finite(norm));
  for (const Tensor& moment : optimizer.pending()) outputs.push_back(moment);
  return outputs;
}

TEST(BatchGroups, TheUpdatesOfAllParametersAreOneStep) {
  const Graph graph = optimized(clipped_step(parameters()));
  verify(graph, "batch-groups");
  const GraphNode& batch = test::only(graph, "elementwise_batch");
  EXPECT_EQ(batch.group->members(batch.inputs.size()), 4u)
      << print(graph);  // one number is a group by itself
  EXPECT_EQ(graph.result_specs(batch).size(), 12u);
  EXPECT_EQ(test::count_op(graph, "sum_of_squares"), 1u);
  std::set<std::uint32_t> places;  // each output is a value of its own
  for (std::uint32_t output : graph.outputs) places.insert(output);
  EXPECT_EQ(places.size(), graph.outputs.size());
}

TEST(BatchGroups, ResultsAreThoseOfTheGroups) {
  test::expect_same_results("batch-groups", [] { return clipped_step(parameters()); });
}

TEST(BatchGroups, LargeMembersAndUnalignedOnesAreRight) {
  test::expect_same_results("batch-groups", [] {
    const Tensor buffer = normal({1 << 21});
    const Tensor count = sum(buffer);
    std::vector<Tensor> outputs;
    for (std::int64_t start : {0, 1, 3}) {
      const Tensor part = slice(buffer, 0, start, (1 << 20) + 5 + 2 * start);
      outputs.push_back(part * count + tanh(part));
    }
    for (std::int64_t i = 0; i < 200; ++i) {
      const Tensor part = slice(buffer, 0, i, 3 * i + 2);
      outputs.push_back(part * count + tanh(part));
    }
    return outputs;
  });
}

TEST(BatchGroups, MembersWithViewsOfOtherOrdersAreRight) {
  test::expect_same_results("batch-groups", [] {
    const Tensor x = normal({6, 7});
    const Tensor total = sum(square(x));
    return std::vector<Tensor>{exp(permute(x, {1, 0})) * total, exp(slice(x, 0, 1, 4)) * total,
                               exp(broadcast_to(slice(x, 0, 2, 3), {3, 7})) * total};
  });
}

TEST(BatchGroups, ResultsThatAreReadOnStayApart) {
  const Tensor x = normal({6});
  const Tensor y = normal({8}, DType::f32, 2);
  const Tensor total = sum(x) + sum(y);
  const Tensor a = exp(x) * total;
  const Tensor b = exp(y) * total;
  EXPECT_EQ(test::count_op(optimized({a, b}), "elementwise_batch"), 1u);
  EXPECT_EQ(
      test::count_op(optimized({a, b, matmul(reshape(a, {2, 3}), normal({3, 2}))}), "elementwise_batch"), 0u);
}

TEST(BatchGroups, WhatNeedNotWaitIsNotKeptWaiting) {
  const Tensor x = normal({6});
  const Tensor y = normal({8}, DType::f32, 2);
  const Tensor number = normal({});
  EXPECT_EQ(test::count_op(optimized({exp(x) * number, exp(y) * number}), "elementwise_batch"), 0u);
}

TEST(BatchGroups, OtherProgramsAndOtherNumbersStayApart) {
  const Tensor x = normal({6});
  const Tensor y = normal({8}, DType::f32, 2);
  const Tensor total = sum(x) + sum(y);
  const Tensor other = sum(x) - sum(y);
  EXPECT_EQ(test::count_op(optimized({exp(x) * total, sin(y) * total}), "elementwise_batch"), 0u);
  EXPECT_EQ(test::count_op(optimized({exp(x) * total, exp(y) * other}), "elementwise_batch"), 0u);
  EXPECT_EQ(test::count_op(optimized({(x + 1) * total, (y + 2) * total}), "elementwise_batch"), 0u);
}

TEST(BatchGroups, UpdatesTakeThePlacesOfWhatTheyUpdate) {
  const std::int64_t count = 1 << 16;
  std::vector<Tensor> values{normal({count}), normal({count + 64}, DType::f32, 2)};
  const auto update = [&] {
    const Tensor total = sum(values[0]) + sum(values[1]);
    for (Tensor& value : values) value = value * 0.5 + total;
  };
  update();
  const std::uint64_t before = peak_bytes();
  reset_peak_bytes();
  eval(values, History::drop);
  EXPECT_LE(peak_bytes(), std::max<std::uint64_t>(before, 1) + 8192);
}

}  // namespace
}  // namespace wick
