#include "optimize/fold_constants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optimize/dead_nodes.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "support/error_text.h"
#include "wick/error.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph folded(const std::vector<Tensor>& outputs) {
  Graph graph = eliminate_dead_nodes(fold_constants(test::graph_of(outputs), test::pass_context()),
                                     test::pass_context());
  verify(graph, "fold-constants");
  return graph;
}

std::size_t constant_leaves(const Graph& graph) {
  std::size_t n = 0;
  for (const GraphNode& node : graph.nodes) n += !node.op && graph.leaves[node.leaf].constant;
  return n;
}

TEST(FoldConstants, NumbersBecomeOneNumber) {
  const Tensor x = test::normal({3});
  const Tensor two = full({}, 2);
  const Graph graph = folded({x * (exp(two) + cast(full({}, 3, DType::i32), DType::f32))});
  EXPECT_EQ(graph.nodes.size(), 3u);  // x, the number, the product
  EXPECT_EQ(test::count_op(graph, "constant"), 1u);
  EXPECT_EQ(constant_leaves(graph), 0u);
}

TEST(FoldConstants, EqualElementsBecomeOneNumber) {
  const Tensor x = test::normal({3, 4});
  const Graph graph = folded({x + sqrt(zeros({3, 4}) + 2)});
  EXPECT_EQ(test::count_op(graph, "sqrt"), 0u);
  EXPECT_EQ(test::count_op(graph, "broadcast_to"), 1u);
  EXPECT_EQ(constant_leaves(graph), 0u);
}

TEST(FoldConstants, SmallArraysBecomeDataOfThePlan) {
  const Tensor x = test::normal({5, 5});
  const Tensor past = greater_equal(expand_dims(arange(5), 1), expand_dims(arange(5), 0));
  const Tensor y = where(past, x, 0.0);
  const Graph graph = folded({y});
  EXPECT_EQ(constant_leaves(graph), 1u);
  EXPECT_EQ(test::count_op(graph, "arange"), 0u);
  const std::vector<float> before = x.to_vector<float>();
  for (int round = 0; round < 2; ++round) {
    const std::vector<float> after = where(past, x, 0.0).to_vector<float>();
    for (std::size_t i = 0; i < 25; ++i) EXPECT_EQ(after[i], i % 5 <= i / 5 ? before[i] : 0.0f);
  }
}

TEST(FoldConstants, LargeArraysAreComputedByThePlan) {
  const Tensor x = test::normal({20000});
  const Graph graph = folded({x + cast(arange(20000) * 2, DType::f32)});
  EXPECT_EQ(constant_leaves(graph), 0u);
  EXPECT_EQ(test::count_op(graph, "arange"), 1u);
}

TEST(FoldConstants, WhatDataIsReadFromStays) {
  const Tensor key = random_key(1);
  EXPECT_EQ(test::count_op(folded({random_uniform(key, {4})}), "random_uniform"), 1u);
}

TEST(FoldConstants, AnIntegerThatDoubleDoesNotHoldStaysExact) {
  const Tensor large = full({}, 0x1p53, DType::i64) + 1;
  EXPECT_EQ((large + Tensor::scalar(std::int64_t{0})).item<std::int64_t>(), (std::int64_t{1} << 53) + 1);
}

TEST(FoldConstants, ResultsMayBeConstants) {
  const Tensor squares = square(cast(arange(6), DType::f32));
  const Tensor rows = reshape(squares, {2, 3});
  const Tensor shifted = squares + test::normal({6}) * 0;
  eval({rows, shifted, full({2}, 3.0)});
  EXPECT_EQ(rows.to_vector<float>(), (std::vector<float>{0, 1, 4, 9, 16, 25}));
  EXPECT_EQ(shifted.to_vector<float>(), rows.to_vector<float>());
  // The plan's data is nobody's to overwrite.
  Tensor next = rows + 1;
  eval({next}, History::drop);
  EXPECT_EQ(reshape(square(cast(arange(6), DType::f32)), {2, 3}).to_vector<float>(),
            (std::vector<float>{0, 1, 4, 9, 16, 25}));
}

TEST(FoldConstants, AnErrorIsLeftForThePlanToReport) {
  const Tensor taken = take(zeros({3}) + arange(3, DType::f32), arange(2) + 7, 0) + test::normal({2});
  EXPECT_EQ(test::count_op(folded({taken}), "take"), 1u);
  EXPECT_THAT(wick::testing::error_text<ArgumentError>([&] { taken.eval(); }),
              ::testing::HasSubstr("take: index 7"));
}

TEST(FoldConstants, ALongChainIsFolded) {
  Tensor number = full({}, 1.0, DType::f64);
  for (int i = 0; i < 20000; ++i) number = number + 1.0;
  EXPECT_EQ((Tensor::scalar(0.0) + number).item<double>(), 20001.0);
}

TEST(FoldConstants, GivesTheSameBits) {
  test::expect_same_results("fold-constants", [] {
    const Tensor x = test::normal({7, 9}, DType::bf16);
    const Tensor scale = exp(full({9}, -0.5, DType::bf16)) * 3;
    return std::vector<Tensor>{x * scale, sum(x + cast(arange(9), DType::bf16))};
  });
}

}  // namespace
}  // namespace wick
