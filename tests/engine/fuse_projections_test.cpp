#include "optimize/fuse_projections.h"

#include <gtest/gtest.h>

#include "backend_with.h"
#include "graph/flops.h"
#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "optimize/sum_updates.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "support/test_device.h"
#include "wick/explain.h"
#include "wick/grad.h"

namespace wick {
namespace {

using test::normal;

constexpr std::int64_t rows = 5;
constexpr std::int64_t columns = 8;
constexpr std::int64_t rank = 2;

/// A layer's two steps, of a weight [columns, depth].
struct Layer {
  explicit Layer(std::int64_t depth, bool transposed = false, double scale = 1.5, const Tensor& bias = {})
      : x(normal({rows, depth}, DType::f32, 1)) {
    const auto matrix = [&](std::int64_t out, std::int64_t in, std::uint64_t seed) {
      return normal(transposed ? Shape{in, out} : Shape{out, in}, DType::f32, seed);
    };
    a = matrix(rank, depth, 2);
    t = lora_projection(x, a, scale, transposed);
    y = lora_update(x, matrix(columns, depth, 3), bias, t, matrix(columns, rank, 4), transposed);
  }
  Tensor x, a, t, y;
};

/// What the pass makes of a graph, in which sums are steps already, where a backend has the step.
Graph fused(const std::vector<Tensor>& outputs) {
  const test::BackendWith backend({"lora_projection", "lora_update", "lora_update_sum", "lora_gradient"});
  Graph graph = fuse_projections(sum_updates(test::graph_of(outputs), backend.context()), backend.context());
  verify(graph, "fuse-projections");
  return graph;
}

std::vector<Shape> shapes_of(const Graph& graph, const GraphNode& step) {
  std::vector<Shape> shapes;
  for (std::uint32_t input : step.inputs) shapes.push_back(graph.nodes[input].spec.shape);
  return shapes;
}

std::vector<Shape> results_of(const Graph& graph, const GraphNode& step) {
  std::vector<Shape> shapes;
  for (const Spec& spec : graph.result_specs(step)) shapes.push_back(spec.shape);
  return shapes;
}

using Shapes = std::vector<Shape>;

TEST(FuseProjections, ALayerIsOneStep) {
  for (bool transposed : {false, true}) {
    const auto matrix = [&](std::int64_t out, std::int64_t in) {
      return transposed ? Shape{in, out} : Shape{out, in};
    };
    const Graph graph = fused({Layer(3, transposed).y});
    const GraphNode& step = test::only(graph, "lora_update_sum");
    EXPECT_EQ(shapes_of(graph, step),
              (Shapes{{rows, 3}, matrix(columns, 3), matrix(rank, 3), matrix(columns, rank)}));
    EXPECT_EQ(results_of(graph, step), (Shapes{{rows, columns}}));
    const auto attrs = step.attrs.as<LoraUpdateSumAttrs>();
    EXPECT_EQ(attrs.transposed, transposed ? 1 : 0);
    EXPECT_EQ(attrs.projecting, 1);
    EXPECT_EQ(attrs.kept, 0);
    EXPECT_EQ(attrs.scales[0], 1.5);
    EXPECT_EQ(test::count_op(graph, "lora_update"), 0u) << print(graph);
    EXPECT_EQ(test::count_op(graph, "lora_projection"), 0u) << print(graph);
  }
}

TEST(FuseProjections, TheBiasComesLast) {
  const Graph graph = fused({Layer(3, false, 1.5, normal({columns})).y});
  const GraphNode& step = test::only(graph, "lora_update_sum");
  EXPECT_EQ(shapes_of(graph, step), (Shapes{{rows, 3}, {columns, 3}, {rank, 3}, {columns, rank}, {columns}}));
  EXPECT_EQ(step.attrs.as<LoraUpdateSumAttrs>().has_bias, 1);
}

TEST(FuseProjections, WhatOthersReadIsOneMoreResult) {
  const Layer layer(3);
  const Graph graph = fused({lora_gradient(normal({rows, 4}), layer.t, false), layer.y});
  const GraphNode& step = test::only(graph, "lora_update_sum");
  EXPECT_EQ(results_of(graph, step), (Shapes{{rows, columns}, {rows, rank}})) << print(graph);
  const GraphNode& pick = test::only(graph, "pick");
  EXPECT_EQ(&graph.nodes[pick.inputs[0]], &step);
  EXPECT_EQ(&graph.nodes[test::only(graph, "lora_gradient").inputs[1]], &pick);
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 0u) << print(graph);
}

TEST(FuseProjections, AnEvaluatedProjectionIsAResult) {
  const Layer layer(3);
  const Graph graph = fused({layer.t, layer.y});
  ASSERT_EQ(graph.outputs.size(), 2u);
  EXPECT_EQ(graph.nodes[graph.outputs[0]].op->name, "pick") << print(graph);
  EXPECT_EQ(graph.nodes[graph.outputs[1]].op->name, "lora_update_sum") << print(graph);
}

TEST(FuseProjections, MembersOfASumProjectEachItsOwn) {
  const Layer first(3, true, 2);
  const Layer second(4, true, 3);
  const Tensor plain = matmul(normal({rows, 6}), normal({6, columns}));
  const Graph graph = fused({first.y + second.y + plain, second.t});
  const GraphNode& step = test::only(graph, "lora_update_sum");
  EXPECT_EQ(shapes_of(graph, step), (Shapes{{rows, 3},
                                            {3, columns},
                                            {3, rank},
                                            {rank, columns},
                                            {rows, 4},
                                            {4, columns},
                                            {4, rank},
                                            {rank, columns},
                                            {rows, 6},
                                            {6, columns}}));
  EXPECT_EQ(results_of(graph, step), (Shapes{{rows, columns}, {rows, rank}}));
  const auto attrs = step.attrs.as<LoraUpdateSumAttrs>();
  EXPECT_EQ(attrs.plain, 4);
  EXPECT_EQ(attrs.projecting, 3);
  EXPECT_EQ(attrs.kept, 2);
  EXPECT_EQ(attrs.scales[0], 2);
  EXPECT_EQ(attrs.scales[1], 3);
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 0u) << print(graph);
}

TEST(FuseProjections, AMemberMayReadWhatItIsGiven) {
  const Tensor given = lora_update(normal({rows, 4}), normal({4, columns}), {}, normal({rows, rank}),
                                   normal({rank, columns}), true);
  const Graph graph = fused({given + Layer(3, true).y});
  const auto attrs = test::only(graph, "lora_update_sum").attrs.as<LoraUpdateSumAttrs>();
  EXPECT_EQ(attrs.projecting, 2) << print(graph);
  EXPECT_EQ(attrs.plain, 0);
}

TEST(FuseProjections, OfTwoThatProjectAlikeOneKeepsWhatOthersRead) {
  const Layer layer(3);
  const Tensor other = lora_update(layer.x, normal({columns, 3}, DType::f32, 5), {}, layer.t,
                                   normal({columns, rank}, DType::f32, 6), false);
  for (const std::vector<Tensor>& outputs :
       {std::vector{layer.y, other, layer.t}, std::vector{layer.y + other, layer.t}}) {
    const Graph graph = fused(outputs);
    EXPECT_EQ(test::count_op(graph, "lora_projection"), 0u) << print(graph);
    EXPECT_EQ(test::count_op(graph, "pick"), 1u) << print(graph);
  }
}

TEST(FuseProjections, LeavesAloneProjectionsOfAnotherInputOrTheOtherWayRound) {
  const Layer layer(3);
  const auto untouched = [](const Tensor& y) {
    const Graph graph = fused({y});
    EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 0u) << print(graph);
    EXPECT_EQ(test::count_op(graph, "lora_projection"), 1u) << print(graph);
  };
  const Tensor x = normal({rows, 3}, DType::f32, 7);
  const Tensor weight = normal({columns, 3});
  const Tensor b = normal({columns, rank});
  untouched(lora_update(x, weight, {}, layer.t, b, false));
  untouched(lora_update(x, weight, {}, lora_projection(x, normal({3, rank}), 1.5, true), b, false));
}

/// The weight is computed from what the step would keep.
TEST(FuseProjections, LeavesAloneWhatSharesItsInputWithAProjectionThatStays) {
  const Layer layer(3);
  const Tensor other = lora_projection(layer.x, normal({3, rank}, DType::f32, 5), 1.0, true);
  const Graph graph = fused({layer.y, other});
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 2u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 0u) << print(graph);
}

TEST(FuseProjections, AStepThatWouldWaitForItselfStaysApart) {
  const Layer layer(3);
  const Tensor weight = matmul(normal({columns, rows}), layer.t);  // [columns, rank]
  const Graph graph =
      fused({lora_update(layer.x, normal({columns, 3}, DType::f32, 8), {}, layer.t, weight, false), layer.t});
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 1u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_update"), 1u) << print(graph);
}

struct Adapter {
  Adapter(std::int64_t out, std::int64_t in)
      : weight(normal({out, in})), a(normal({rank, in}, DType::f32, 2)), b(normal({out, rank})) {}
  Tensor operator()(const Tensor& x) const { return lora_linear(x, weight, {}, a, b, 2); }
  Tensor weight, a, b;
};

Graph optimized(const std::vector<Tensor>& outputs) {
  const test::BackendWith backend({"lora_projection", "lora_projections", "lora_update", "lora_update_sum",
                                   "lora_gradient", "lora_gradients"});
  Graph graph = optimize(test::graph_of(outputs), backend.context());
  verify(graph, "the last pass");
  return graph;
}

/// Each layer, and the sum of what they give to their input's gradient.
TEST(FuseProjections, LayersOfOneInputAndTheirGradientsAreFourSteps) {
  const Tensor x = normal({rows, columns});
  Tensor loss = Tensor::scalar(0.0F);
  std::vector<Tensor> wanted{x};
  for (std::int64_t out : {6, 4, 3}) {
    const Adapter layer(out, columns);
    loss = loss + sum(square(layer(x)));
    wanted.push_back(layer.a);
    wanted.push_back(layer.b);
  }
  const Graph graph = optimized(grad(loss, wanted));
  EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 4u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "pick"), 3u + 3u + 5u) << print(graph);  // every t; gradients but one
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 0u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_projections"), 0u) << print(graph);
}

TEST(FuseProjections, ARecomputedLayerProjectsAgain) {
  const Adapter first(6, columns);
  const Adapter second(4, 6);
  const Tensor x = normal({rows, columns});
  const Tensor y = checkpoint([&](auto in) { return second(tanh(first(in[0]))); }, {x});
  const Graph graph = optimized(grad(sum(square(y)), {first.a, first.b, second.a, second.b}));
  // Both layers forward; the first recomputed with what its gradient reads, the second's projection alone,
  // whose product nobody needs; and the gradient of the second one's input.
  EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 4u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "lora_update"), 0u) << print(graph);
}

TEST(FuseProjections, AStepCountsWhatItsPartsDo) {
  const Layer first(3, true);
  const Layer second(4, true);
  const auto total = [](const Graph& graph) {
    double flops = 0;
    for (const GraphNode& node : graph.nodes)
      if (node.op) flops += flops_of(*node.op, graph.input_specs(node), node.spec, node.attrs);
    return flops;
  };
  const Tensor bias = normal({columns});
  const Tensor plain = matmul(normal({rows, 6}), normal({6, columns}));
  for (const Tensor& y : {Layer(3, false, 1.5, bias).y, first.y + second.y, first.y + second.y + plain}) {
    const Graph graph = fused({y});
    EXPECT_EQ(test::count_op(graph, "lora_update_sum"), 1u);
    EXPECT_EQ(total(graph), total(test::graph_of({y})));
  }
}

/// Up to 1,024 columns and 16 ranks, from 64 rows on; more columns of large inputs.
TEST(FuseProjections, OnComputeCapability90ProductsOfFewColumnsProject) {
  WICK_NEEDS_GPU();
  const Device gpu = test::first_gpu();
  for (const DeviceInfo& info : devices())
    if (info.device == gpu && info.features.find("9.0") == std::string::npos)
      GTEST_SKIP() << "its kernels are for compute capability 9.0, this is " << info.features;
  const auto steps = [&](std::int64_t x_rows, std::int64_t out, std::int64_t low) {
    const auto data = [&](const Shape& shape, DType dtype) { return normal(shape, dtype).to(gpu); };
    const Tensor y = lora_linear(data({x_rows, 64}, DType::bf16), data({out, 64}, DType::bf16), {},
                                 data({low, 64}, DType::f32), data({out, low}, DType::f32), 2);
    std::vector<std::string> ops;
    for (const ExplainedStep& step : explain({y}).steps) ops.push_back(step.op);
    return ops;
  };
  using Ops = std::vector<std::string>;
  const Ops one{"lora_update_sum"};
  const Ops two{"lora_projection", "lora_update"};
  EXPECT_EQ(steps(64, 1024, 8), one);
  EXPECT_EQ(steps(4096, 128, 16), one);
  EXPECT_EQ(steps(63, 1024, 8), two);
  EXPECT_EQ(steps(64, 1032, 8), two);
  EXPECT_EQ(steps(64, 1024, 17), two);
  EXPECT_EQ(steps(1 << 17, 1032, 16), one);
  EXPECT_EQ(steps((1 << 17) - 1, 1032, 16), two);
}

TEST(FuseProjections, NothingChangesWithoutAKernel) {
  const test::BackendWith backend({}, {"lora_update_sum"});
  const Graph graph = fuse_projections(test::graph_of({Layer(3).y}), backend.context());
  EXPECT_EQ(test::count_op(graph, "lora_update"), 1u);
  EXPECT_EQ(test::count_op(graph, "lora_projection"), 1u);
}

}  // namespace
}  // namespace wick
