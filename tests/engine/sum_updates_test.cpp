#include "optimize/sum_updates.h"

#include <gtest/gtest.h>

#include "backend_with.h"
#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/grad.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;

constexpr std::int64_t rows = 5;
constexpr std::int64_t columns = 8;

/// What a layer of one input adds to that input's gradient: a weight [depth, columns] with factors.
Tensor update(std::int64_t depth, bool transposed = true, const Tensor& bias = {}) {
  const auto matrix = [&](std::int64_t k, std::uint64_t seed) {
    return normal(transposed ? Shape{k, columns} : Shape{columns, k}, DType::f32, seed);
  };
  return lora_update(normal({rows, depth}), matrix(depth, 2), bias, normal({rows, 2}, DType::f32, 3),
                     matrix(2, 4), transposed);
}
Tensor plain(std::int64_t depth) {
  return matmul(normal({rows, depth}, DType::f32, 5), normal({depth, columns}, DType::f32, 6));
}

/// What the pass makes of a sum where a backend has the step.
Graph summed(const std::vector<Tensor>& outputs) {
  const test::BackendWith backend({"lora_update", "lora_update_sum"});
  Graph graph = sum_updates(test::graph_of(outputs), backend.context());
  verify(graph, "sum-updates");
  return graph;
}

/// The shapes of what a step reads, in its order.
std::vector<Shape> read_by(const Graph& graph, const GraphNode& step) {
  std::vector<Shape> shapes;
  for (std::uint32_t input : step.inputs) shapes.push_back(graph.nodes[input].spec.shape);
  return shapes;
}

TEST(SumUpdates, TwoAreOneStep) {
  const Graph graph = summed({update(3) + update(4)});
  const GraphNode& step = test::only(graph, "lora_update_sum");
  EXPECT_EQ(read_by(graph, step), (std::vector<Shape>{{rows, 3},
                                                      {3, columns},
                                                      {rows, 2},
                                                      {2, columns},
                                                      {rows, 4},
                                                      {4, columns},
                                                      {rows, 2},
                                                      {2, columns}}));
  EXPECT_EQ(step.spec, (Spec{{rows, columns}, DType::f32}));
  EXPECT_EQ(step.attrs.as<LoraUpdateSumAttrs>().plain, 0);
  EXPECT_EQ(test::count_op(graph, "add"), 0u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_update"), 0u) << print(graph);
}

TEST(SumUpdates, ProductsWithoutFactorsComeLast) {
  const Graph graph = summed({plain(6) + (update(3) + update(4))});
  const GraphNode& step = test::only(graph, "lora_update_sum");
  ASSERT_EQ(step.inputs.size(), 10u) << print(graph);
  EXPECT_EQ(read_by(graph, step)[8], (Shape{rows, 6}));
  EXPECT_EQ(step.attrs.as<LoraUpdateSumAttrs>().plain, 4);
  EXPECT_EQ(test::count_op(graph, "matmul"), 0u) << print(graph);
}

TEST(SumUpdates, WhatElseIsAddedStaysApart) {
  const Graph graph = summed({normal({rows, columns}, DType::f32, 9) + (update(3) + update(4))});
  EXPECT_EQ(test::only(graph, "lora_update_sum").inputs.size(), 8u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "add"), 1u) << print(graph);
}

TEST(SumUpdates, ALongSumIsTakenInParts) {
  Tensor sum = update(3);
  for (std::int64_t depth = 4; depth < 9; ++depth) sum = sum + update(depth);
  const Graph graph = summed({sum});
  EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 1u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_update"), 3u) << print(graph);
}

TEST(SumUpdates, LeavesAloneWhatOthersReadOrCannotBeOne) {
  const Tensor both = update(3);
  const auto untouched = [](const std::vector<Tensor>& outputs) {
    const Graph graph = summed(outputs);
    EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 0u) << print(graph);
  };
  untouched({both + update(4), both});
  untouched({both + both});
  untouched({update(3) + update(4, false)});
  untouched({update(3) + update(4, true, normal({columns}))});
  untouched({plain(3) + plain(4)});
  untouched({update(3) + tanh(update(4))});
}

TEST(SumUpdates, AGradientOfLayersWithOneInputIsOneStep) {
  const Tensor x = normal({rows, columns});
  Tensor loss = Tensor::scalar(0.0F);
  for (std::int64_t out : {6, 4, 3}) {
    const Tensor y = lora_linear(x, normal({out, columns}), {}, normal({2, columns}), normal({out, 2}), 2);
    loss = loss + sum(square(y));
  }
  const test::BackendWith backend({"lora_projection", "lora_update", "lora_update_sum", "lora_gradient"});
  const DisablePassesScope without({"fuse-projections"});  // which makes steps of layers, too
  const Graph graph = optimize(test::graph_of(grad(loss, {x})), backend.context());
  verify(graph, "sum-updates");
  EXPECT_EQ(test::only(graph, "lora_update_sum").inputs.size(), 12u) << print(graph);
}

TEST(SumUpdates, NothingChangesWithoutAKernel) {
  const test::BackendWith backend({"lora_update"});
  const Graph graph = sum_updates(test::graph_of({update(3) + update(4)}), backend.context());
  EXPECT_EQ(test::count_op(graph, "lora_update"), 2u);
  EXPECT_EQ(test::count_op(graph, "add"), 1u);
}

}  // namespace
}  // namespace wick
