#include "optimize/sink_transposes.h"

#include <gtest/gtest.h>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph sunk(const std::vector<Tensor>& outputs) {
  Graph graph = sink_transposes(test::graph_of(outputs), test::pass_context());
  verify(graph, "sink-transposes");
  return graph;
}

/// What the product reads on the right.
const GraphNode& right_of_product(const Graph& graph) {
  return graph.nodes[test::only(graph, "matmul").inputs[1]];
}

TEST(SinkTransposes, AnOpOnATransposedWeightRunsBeforeTheTransposition) {
  const Tensor x = test::normal({5, 7});
  const Tensor w = test::normal({3, 7}, DType::bf16);
  const Graph graph = sunk({matmul(x, cast(transpose(w), DType::f32) * 2)});
  EXPECT_EQ(right_of_product(graph).op->name, "permute") << print(graph);
  EXPECT_EQ(graph.nodes[right_of_product(graph).inputs[0]].op->name, "mul");
  EXPECT_EQ(test::only(graph, "cast").spec.shape, (Shape{3, 7}));
}

TEST(SinkTransposes, BatchesOfMatricesToo) {
  const Tensor q = test::normal({2, 4, 3, 5});
  const Tensor k = test::normal({2, 6, 3, 5});
  const Tensor scores = matmul(permute(q, {0, 2, 1, 3}), permute(k, {0, 2, 3, 1}) * 0.5);
  EXPECT_EQ(right_of_product(sunk({scores})).op->name, "permute");
}

TEST(SinkTransposes, WhatIsReadOtherwiseStays) {
  const Tensor x = test::normal({5, 7});
  const Tensor scaled = transpose(test::normal({3, 7})) * 2;
  EXPECT_EQ(right_of_product(sunk({matmul(x, scaled), scaled})).op->name, "mul");  // an output
  EXPECT_EQ(right_of_product(sunk({matmul(x, scaled), sum(scaled, {0})})).op->name, "mul");
  const Tensor sums = transpose(test::normal({3, 7})) + test::normal({7, 3});  // two tensors
  EXPECT_EQ(right_of_product(sunk({matmul(x, sums)})).op->name, "add");
  // Neither rows nor columns would be without gaps.
  const Tensor gaps = exp(permute(test::normal({5, 7, 4}), {2, 0, 1}));
  EXPECT_EQ(test::only(sunk({matmul(gaps, test::normal({7, 2}))}), "exp").spec.shape, (Shape{4, 5, 7}));
}

TEST(SinkTransposes, GivesTheSameNumbers) {
  test::expect_same_results("sink-transposes", [] {
    const Tensor x = test::normal({5, 7});
    const Tensor w = test::normal({3, 7}, DType::bf16, 2);
    const Tensor k = test::normal({2, 7, 3, 5}, DType::f32, 3);
    return std::vector<Tensor>{matmul(x, cast(transpose(w), DType::f32) * 2),
                               matmul(test::normal({2, 3, 4, 5}), tanh(permute(k, {0, 2, 3, 1})))};
  });
}

}  // namespace
}  // namespace wick
