#include "optimize/fuse_thin_linear.h"

#include <gtest/gtest.h>

#include "backend_with.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "support/test_device.h"
#include "wick/model.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph fused(const std::vector<Tensor>& outputs) {
  static const test::BackendWith backend({"thin_linear"});
  Graph graph = fuse_thin_linear(test::graph_of(outputs), backend.context());
  verify(graph, "fuse-thin-linear");
  return graph;
}

std::string description(const GraphNode& node) { return node.op->describe(node.attrs); }

struct Layer {
  Tensor x = test::normal({3, 16});
  Tensor norm = test::normal({16}, DType::f32, 2);
  Tensor h = rms_norm(x, norm, 1e-6);
  Tensor weight(std::int64_t out, std::uint64_t seed = 3) const {
    return test::normal({out, 16}, DType::f32, seed);
  }
};

TEST(FuseThinLinear, LayersOfOneNormAreOneOp) {
  const Layer l;
  const Tensor bias = test::normal({8});
  const Graph graph = fused({linear(l.h, l.weight(8), bias), linear(l.h, l.weight(4), test::normal({4})),
                             linear(l.h, l.weight(4, 5), test::normal({4}))});
  EXPECT_EQ(description(test::only(graph, "thin_linear")), "3 layers, of an RMS norm, eps=1e-06");
  EXPECT_EQ(test::only(graph, "thin_linear").spec.shape, (Shape{3, 16}));
  EXPECT_EQ(test::count_op(graph, "slice"), 3u);
  EXPECT_EQ(test::count_op(graph, "rms_norm") + test::count_op(graph, "linear"), 0u) << print(graph);
}

TEST(FuseThinLinear, GateAndUpTakeTheActivationAlong) {
  const Layer l;
  const Graph graph = fused({swiglu(linear(l.h, l.weight(8)), linear(l.h, l.weight(8, 4)))});
  EXPECT_EQ(description(test::only(graph, "thin_linear")), "2 layers, of an RMS norm, eps=1e-06, gated");
  EXPECT_EQ(test::count_op(graph, "swiglu") + test::count_op(graph, "linear"), 0u) << print(graph);
}

TEST(FuseThinLinear, TheResidualIsAdded) {
  const Layer l;
  for (const bool first : {false, true}) {
    const Tensor y = linear(l.x, l.weight(16));
    const Graph graph = fused({first ? l.x + y : y + l.x});
    EXPECT_EQ(description(test::only(graph, "thin_linear")), "1 layer, added to a residual");
    EXPECT_EQ(test::count_op(graph, "add"), 0u) << print(graph);
  }
}

TEST(FuseThinLinear, WhatOthersReadStays) {
  const Layer l;
  const Graph norm = fused({linear(l.h, l.weight(8)), sum(l.h)});
  EXPECT_EQ(description(test::only(norm, "thin_linear")), "1 layer");
  EXPECT_EQ(test::count_op(norm, "rms_norm"), 1u);

  const Tensor gate = linear(l.h, l.weight(8));
  const Graph read = fused({swiglu(gate, linear(l.h, l.weight(8, 4))), gate});
  EXPECT_EQ(description(test::only(read, "thin_linear")), "2 layers, of an RMS norm, eps=1e-06");
  EXPECT_EQ(test::count_op(read, "swiglu"), 1u);

  const Tensor y = linear(l.x, l.weight(16));
  EXPECT_EQ(test::count_op(fused({y + l.x, sum(y)}), "add"), 1u);
  EXPECT_EQ(test::count_op(fused({y + test::normal({16})}), "add"), 1u);
}

/// What one layer's weight is computed from may need another one's result.
TEST(FuseThinLinear, ALayerThatNeedsItsSiblingStaysBehindIt) {
  const Layer l;
  const Tensor y = linear(l.x, l.weight(8));
  const Graph graph = fused({linear(l.x, l.weight(3) * sum(y)), y});
  EXPECT_EQ(test::count_op(graph, "linear") + test::count_op(graph, "thin_linear"), 2u) << print(graph);
}

TEST(FuseThinLinear, NothingChangesWithoutAKernel) {
  const Layer l;
  const Graph before = test::graph_of({linear(l.h, l.weight(8))});
  EXPECT_EQ(print(fuse_thin_linear(before, test::pass_context())), print(before));
}

Model small_model(DType dtype, Device device) {
  ModelConfig config;
  config.vocab_size = 300;
  config.hidden_size = 64;
  config.intermediate_size = 136;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.attention_bias = true;
  return Model::random(config, 1, dtype, device);
}

std::vector<Tensor> logits_of(const Model& model, std::int64_t rows) {
  ModelInput input;
  input.ids = Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(rows), 7), {rows, 1});
  return {cast(model.forward(input), DType::f32)};
}

/// A model's step on a GPU, with rows of one and of more than one kernel.
TEST(FuseThinLinear, GivesTheSameLogits) {
  WICK_NEEDS_GPU();
  const Model model = small_model(DType::bf16, test::first_gpu());
  for (const std::int64_t rows : {1, 5, 40})
    test::expect_same_results(
        "fuse-thin-linear", [&] { return logits_of(model, rows); },
        // Hidden states near 1 are rounded to 8 bits at other places; logits are sums of 64 of them times
        // weights of 0.02, wrong by 6e-4 then, and by several times that among 300: 5e-3.
        500);
}

/// On the CPU, of one row alone. `recognize` has made biases of the residuals, so that two of each layer and
/// the head are left.
TEST(FuseThinLinear, OfOneRowOnTheCpuGivesTheSameBits) {
  const Model model = small_model(DType::f32, cpu);
  EXPECT_EQ(test::count_op(test::optimized(logits_of(model, 1)), "thin_linear"), 5u);
  EXPECT_EQ(test::count_op(test::optimized(logits_of(model, 2)), "thin_linear"), 0u);
  const Tensor with = logits_of(model, 1)[0].eval();
  const DisablePassesScope apart({"fuse-thin-linear"});
  EXPECT_EQ(with.to_vector<float>(), logits_of(model, 1)[0].to_vector<float>());
}

}  // namespace
}  // namespace wick
