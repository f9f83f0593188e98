#include "optimize/join_adapters.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backend_with.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/grad.h"
#include "wick/optimizer.h"

namespace wick {
namespace {

using test::normal;

constexpr std::int64_t rows = 5;

struct Layer {
  explicit Layer(std::int64_t in, std::int64_t out, std::int64_t rank = 2, double times = 2)
      : weight(normal({out, in})),
        a(normal({rank, in}, DType::f32, 2)),
        b(normal({out, rank}, DType::f32, 3)),
        scale(times) {}
  Tensor operator()(const Tensor& x) const { return lora_linear(x, weight, {}, a, b, scale); }
  Tensor weight, a, b;
  double scale;
};

/// The gradients of all factors for the sum of the squares of what `outputs` are.
std::vector<Tensor> gradients(const std::vector<Layer>& layers, const std::vector<Tensor>& outputs) {
  Tensor loss = Tensor::scalar(0.0F);
  for (const Tensor& y : outputs) loss = loss + sum(square(y));
  std::vector<Tensor> factors;
  for (const Layer& layer : layers) {
    factors.push_back(layer.a);
    factors.push_back(layer.b);
  }
  return grad(loss, factors);
}

std::vector<Tensor> of_one_input(const std::vector<Layer>& layers) {
  const Tensor x = normal({rows, layers[0].a.shape()[1]});
  std::vector<Tensor> outputs;
  for (const Layer& layer : layers) outputs.push_back(layer(x));
  return gradients(layers, outputs);
}

/// What the pipeline makes of them where a backend computes several at once.
Graph joined(const std::vector<Tensor>& outputs) {
  const test::BackendWith backend(
      {"lora_projection", "lora_projections", "lora_update", "lora_gradient", "lora_gradients"});
  Graph graph = optimize(test::graph_of(outputs), backend.context());
  verify(graph, "join-adapters");
  return graph;
}

/// How many members the steps of an op have, sorted.
std::vector<std::size_t> members(const Graph& graph, std::string_view op) {
  std::vector<std::size_t> counts;
  for (const GraphNode& node : graph.nodes)
    if (node.op && node.op->name == op) counts.push_back(node.inputs.size() / 2);
  std::sort(counts.begin(), counts.end());
  return counts;
}

using Counts = std::vector<std::size_t>;

TEST(JoinAdapters, LayersOfOneInputAreThreeSteps) {
  const Graph graph = joined(of_one_input({Layer(8, 8), Layer(8, 4), Layer(8, 6)}));
  EXPECT_EQ(members(graph, "lora_projections"), (Counts{3, 3})) << print(graph);
  EXPECT_EQ(members(graph, "lora_gradients"), (Counts{6})) << print(graph);
  EXPECT_EQ(members(graph, "lora_projection"), Counts{});
  EXPECT_EQ(members(graph, "lora_gradient"), Counts{});
}

TEST(JoinAdapters, ResultsAreThoseOfTheMembers) {
  const std::vector<Layer> layers{Layer(8, 8), Layer(8, 4)};
  const std::vector<Tensor> outputs = of_one_input(layers);
  const Graph graph = joined(outputs);
  const GraphNode& step = test::only(graph, "lora_gradients");
  const std::vector<Spec> results = graph.result_specs(step);
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(results[0], step.spec);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    EXPECT_EQ(graph.nodes[graph.outputs[i]].spec.shape, outputs[i].shape()) << print(graph);
  std::vector<Shape> shapes;
  for (const Spec& spec : results) shapes.push_back(spec.shape);
  for (const Tensor& output : outputs)
    EXPECT_NE(std::find(shapes.begin(), shapes.end(), output.shape()), shapes.end()) << output.shape().str();
}

TEST(JoinAdapters, BothGradientsOfALayerAreOneStep) {
  const std::vector<Layer> layers{Layer(8, 6), Layer(6, 4)};
  const Graph graph = joined(gradients(layers, {layers[1](tanh(layers[0](normal({rows, 8}))))}));
  EXPECT_EQ(members(graph, "lora_projections"), Counts{}) << print(graph);
  EXPECT_EQ(members(graph, "lora_gradients"), (Counts{2, 2})) << print(graph);
}

TEST(JoinAdapters, OtherRanksAndScalesStayApart) {
  const Graph ranks = joined(of_one_input({Layer(8, 8, 2), Layer(8, 4, 3)}));
  EXPECT_EQ(members(ranks, "lora_projections"), Counts{}) << print(ranks);
  EXPECT_EQ(members(ranks, "lora_gradients"), (Counts{2, 2})) << print(ranks);
  const Graph scales = joined(of_one_input({Layer(8, 8, 2, 2), Layer(8, 4, 2, 3)}));
  EXPECT_EQ(members(scales, "lora_projections"), Counts{}) << print(scales);
  EXPECT_EQ(members(scales, "lora_gradients"), (Counts{4})) << print(scales);
}

TEST(JoinAdapters, WhatReadsAMemberWaitsForTheStep) {
  const std::vector<Layer> layers{Layer(8, 8), Layer(8, 4), Layer(8, 6)};
  std::vector<Tensor> outputs = of_one_input(layers);
  outputs.insert(outputs.begin(), sum(square(outputs.back())));
  outputs.insert(outputs.begin(), global_norm(outputs));
  const Graph graph = joined(outputs);
  EXPECT_EQ(members(graph, "lora_gradients"), (Counts{6})) << print(graph);
}

TEST(JoinAdapters, ManyMembersAreSeveralSteps) {
  std::vector<Layer> layers;
  for (std::int64_t i = 0; i < 9; ++i) layers.emplace_back(8, 4 + i);
  const Graph graph = joined(of_one_input(layers));
  EXPECT_EQ(members(graph, "lora_projections"), (Counts{8, 8})) << print(graph);
  EXPECT_EQ(members(graph, "lora_projection"), (Counts{1, 1}));
  EXPECT_EQ(members(graph, "lora_gradients"), (Counts{2, 8, 8}));
}

TEST(JoinAdapters, StepsThatWouldWaitForEachOtherStayApart) {
  const Tensor x = normal({rows, 8});
  const Layer first(8, 8);
  const Layer second(8, 4);
  const Tensor y = first(x);
  const Tensor of_first = slice(y, 0, 0, 2);
  const Graph graph = joined({y, lora_linear(x, second.weight, {}, of_first, second.b, 2)});
  EXPECT_EQ(members(graph, "lora_projections"), Counts{}) << print(graph);
  EXPECT_EQ(members(graph, "lora_projection"), (Counts{1, 1}));
}

TEST(JoinAdapters, AGraphStaysAsItIsWhereNoKernelTakesSeveral) {
  const test::BackendWith backend({}, {"lora_projections", "lora_gradients"});
  const Graph graph = optimize(test::graph_of(of_one_input({Layer(8, 8), Layer(8, 4)})), backend.context());
  EXPECT_EQ(members(graph, "lora_projections"), Counts{});
  EXPECT_EQ(members(graph, "lora_gradients"), Counts{});
}

/// There, projections of other inputs share nothing: those onto the second factors, of the outputs'
/// gradients.
TEST(JoinAdapters, OnTheCpuProjectionsOfOneInputAreOneStep) {
  const Graph graph = test::optimized(of_one_input({Layer(8, 8), Layer(8, 4), Layer(8, 6)}));
  EXPECT_EQ(members(graph, "lora_projections"), Counts{3}) << print(graph);
  EXPECT_EQ(members(graph, "lora_projection"), (Counts{1, 1, 1})) << print(graph);
  EXPECT_EQ(members(graph, "lora_gradients"), Counts{6}) << print(graph);
}

}  // namespace
}  // namespace wick
