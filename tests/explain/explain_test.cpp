#include "wick/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/markup.h"
#include "support/test_device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/memory.h"
#include "wick/name_scope.h"
#include "wick/ops.h"
#include "wick/optimize.h"
#include "wick/trainer.h"

namespace wick {
namespace {

using nlohmann::json;
using test::count;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;

Tensor data(const Shape& shape) {
  return Tensor::from(std::vector<float>(static_cast<std::size_t>(shape.elements()), 0.5F), shape);
}

/// matmul, then a group of two elementwise ops.
Tensor product_and_group() {
  const NameScope scope("layer.0");
  return exp(matmul(data({8, 4}), data({4, 6})) * 2.0);
}

TEST(Explain, TellsWhatAPlanComputesAndWhere) {
  const Tensor y = product_and_group();
  const Explanation e = explain({y});
  EXPECT_FALSE(y.is_evaluated()) << "it computes nothing";
  ASSERT_EQ(e.steps.size(), 2u);
  const ExplainedStep& product = e.steps[0];
  EXPECT_EQ(product.op, "matmul");
  EXPECT_EQ(product.flops, 2 * 8 * 4 * 6);
  EXPECT_EQ(product.bytes, 4 * (8 * 4 + 4 * 6 + 8 * 6));
  EXPECT_EQ(product.shape, (Shape{8, 6}));
  EXPECT_EQ(product.last_use, 1u);
  EXPECT_EQ(product.operands.size(), 2u);
  EXPECT_EQ(product.operands[0].place.kind, ExplainedPlace::Kind::input);
  EXPECT_FALSE(product.operands[0].step);
  EXPECT_EQ(product.origin.part, "layer.0");
  EXPECT_THAT(product.origin.file, EndsWith("explain_test.cpp"));
  EXPECT_GT(product.floor_seconds, 0);

  const ExplainedStep& group = e.steps[1];
  EXPECT_EQ(group.op, "elementwise_group");
  EXPECT_THAT(group.attributes, HasSubstr("exp"));
  EXPECT_EQ(group.flops, 2 * 48);
  EXPECT_EQ(group.operands.at(0).step, 0u);
  EXPECT_EQ(group.place.kind, ExplainedPlace::Kind::result);
  EXPECT_EQ(e.flops(), product.flops + group.flops);
  EXPECT_EQ(e.peak_bytes(), plan_memory({y}).peak_bytes());
  EXPECT_EQ(e.input_bytes, 4u * (8 * 4 + 4 * 6));
}

TEST(Explain, LeastTimesComeFromThePeaksOfTheDevice) {
  const Tensor x = data({64, 64}).to(test::test_device());
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor product = matmul(cast(x, dtype).detach(), cast(x, dtype).detach());
    const Explanation e = explain({product});
    ASSERT_EQ(e.steps.size(), 1u);
    EXPECT_GT(e.peak_flops, 0);
    EXPECT_GT(e.peak_bandwidth, 0);
    EXPECT_DOUBLE_EQ(e.floor_seconds(), std::max(e.flops() / e.peak_flops, e.bytes() / e.peak_bandwidth));
    EXPECT_THAT(e.text(), HasSubstr("measured here"));
    EXPECT_THAT(e.text(), HasSubstr(test::test_device().str()));
    EXPECT_EQ(explain({product}).peak_flops, e.peak_flops) << "measured once";
  }
}

TEST(Explain, ListsThePassesAndWhatTheyChanged) {
  const Explanation e = explain({product_and_group()});
  ASSERT_EQ(e.passes.size(), optimizer_passes().size());
  bool fused = false;
  for (const ExplainedPass& pass : e.passes) {
    if (pass.name != "fuse-elementwise") continue;
    fused = true;
    EXPECT_GT(pass.nodes_before, pass.nodes_after);
    EXPECT_THAT(pass.changes, HasSubstr("+ %"));
    EXPECT_THAT(pass.changes, HasSubstr("elementwise_group"));
  }
  EXPECT_TRUE(fused);
  std::vector<std::string> ops;
  for (const ExplainedNode& node : e.graph) ops.push_back(node.op);
  EXPECT_THAT(ops, Contains("exp")) << "the graph is the recorded one";
}

TEST(Explain, SeesResultsInPlaceOfWhatDies) {
  Tensor state = data({16});
  state = state * 2.0 + 1.0;
  const Explanation kept = explain({state}, History::keep);
  EXPECT_FALSE(kept.steps.at(0).in_place);
  const Explanation dropped = explain({state}, History::drop);
  EXPECT_TRUE(dropped.steps.at(0).in_place);
  EXPECT_EQ(dropped.peak_bytes(), 0u);
}

TEST(Explain, CopiesThatAKernelAskedForAreSteps) {
  const Tensor x = transpose(data({3, 5}));
  const Explanation e = explain({softmax(x, -1)});
  ASSERT_EQ(e.steps.size(), 2u);
  EXPECT_EQ(e.steps[0].op, "copy");
  EXPECT_EQ(e.steps[0].shape, (Shape{5, 3}));
  EXPECT_EQ(e.steps[0].flops, 0);
  EXPECT_EQ(e.steps[1].operands.at(0).step, 0u);
}

TEST(Explain, ABroadcastIsReadOnce) {
  const Tensor row = data({1, 6});
  const Explanation e = explain({sum(broadcast_to(row, {100, 6}))});
  EXPECT_EQ(e.steps.back().bytes, 6 * 4 + 4);
}

TEST(Explain, RowsThatATakeReadsAreCountedNotTheTable) {
  const Tensor table = data({1000, 4});
  const Tensor ids = Tensor::from(std::vector<std::int64_t>{1, 2}, {2});
  EXPECT_EQ(explain({take(table, ids, 0)}).steps.at(0).bytes, 2 * (2 * 4 * 4) + 2 * 8);
}

TEST(Explain, EveryResultOfAGroupIsTold) {
  const Tensor m = data({64});
  const Tensor v = data({64});
  const Tensor g = data({64});
  const Tensor mean = m * 0.9 + g * 0.1;
  const Tensor square_mean = v * 0.9 + square(g) * 0.1;
  const Tensor step = mean / (sqrt(square_mean) + 1e-8);
  const Explanation e = explain({mean, square_mean, step});
  double written = 0;
  for (const ExplainedStep& s : e.steps) {
    written += 64 * 4 * static_cast<double>(1 + s.more_results.size());
    for (const ExplainedResult& more : s.more_results) {
      EXPECT_EQ(more.dtype, DType::f32);
      EXPECT_EQ(more.place.kind, ExplainedPlace::Kind::result);
    }
  }
  EXPECT_EQ(written, 3 * 64 * 4) << "three results, by however many steps";
  if (e.steps.size() == 1) {
    EXPECT_EQ(e.bytes(), 6 * 64 * 4) << "three inputs and three results";
  }
}

TEST(Explain, WhatIsEvaluatedAlreadyAndWhatIsEmpty) {
  const Explanation e = explain({data({2})});
  EXPECT_TRUE(e.steps.empty());
  EXPECT_THAT(e.text(), HasSubstr("0 steps"));
  test::expect_balanced(e.html());
  test::expect_balanced(e.svg());
  EXPECT_EQ(json::parse(e.json()).at("steps").size(), 0u);
  EXPECT_THROW(explain({Tensor{}}), ArgumentError);
}

TEST(Explain, TextAndJsonSayTheSame) {
  const Explanation e = explain({product_and_group()});
  const json parsed = json::parse(e.json());
  EXPECT_EQ(parsed.at("steps").at(0).at("op"), "matmul");
  EXPECT_EQ(parsed.at("steps").at(0).at("flops"), e.steps[0].flops);
  EXPECT_EQ(parsed.at("steps").at(1).at("operands").at(0).at("step"), 0);
  EXPECT_EQ(parsed.at("graph").at("nodes").size(), e.graph.size());
  EXPECT_EQ(parsed.at("passes").size(), e.passes.size());
  EXPECT_THAT(e.text(), HasSubstr("matmul"));
  EXPECT_THAT(e.text(), HasSubstr("explain_test.cpp:"));
  EXPECT_THAT(e.text(), HasSubstr("layer.0"));
}

TEST(Explain, DotHasANodeForEachStepAndAnEdgeForEachUse) {
  const Explanation e = explain({product_and_group()});
  const std::string dot = e.dot();
  EXPECT_THAT(dot, HasSubstr("s0 [label=\"0 matmul\\nf32[8, 6]"));
  EXPECT_THAT(dot, HasSubstr("s0 -> s1;"));
  EXPECT_THAT(dot, HasSubstr("label=\"layer.0\""));
  EXPECT_EQ(count(dot, "{"), count(dot, "}"));
}

TEST(Explain, NamesAreEscapedInMarkup) {
  const NameScope scope("<b>&\"");
  const Explanation e = explain({data({4, 4}) + data({4, 4})});
  EXPECT_THAT(e.html(), HasSubstr("&lt;b&gt;&amp;&quot;"));
  EXPECT_EQ(e.html().find("<b>&"), std::string::npos);
  test::expect_balanced(e.html());
}

ModelConfig small_config() {
  ModelConfig config = ModelConfig::from_file(std::string(WICK_SOURCE_DIR) + "/models/wick-base/config.json");
  config.layers = 3;
  return config;
}

Explanation train_step(bool gradient_checkpointing = false) {
  Model model = Model::blank(small_config());
  LoraConfig lora;
  lora.rank = 4;
  lora.target_modules = parse_target_modules("q_proj,v_proj");
  LoraAdapter adapter = LoraAdapter::create(model, lora, 0);
  TrainOptions options;
  options.gradient_checkpointing = gradient_checkpointing;
  return explain_train_step(std::move(model), std::move(adapter), options, 2, 32);
}

TEST(Explain, ATrainingStepHasTheLayersTheirGradientsAndTheOptimizer) {
  const Explanation e = train_step();
  std::vector<std::string> parts;
  double gradient_flops = 0;
  for (const ExplainedStep& step : e.steps) {
    parts.push_back((step.origin.gradient ? "gradient " : "") + step.origin.part);
    if (step.origin.gradient) gradient_flops += step.flops;
  }
  for (const char* part : {"model.embed_tokens", "model.layers.0/self_attn", "model.layers.2/mlp",
                           "gradient model.layers.1/self_attn", "gradient model.layers.2/mlp", "optimizer"})
    EXPECT_THAT(parts, Contains(part));
  EXPECT_GT(gradient_flops, 0);
  EXPECT_LT(gradient_flops, e.flops());
}

TEST(Explain, GradientCheckpointingComputesMoreAndHoldsLess) {
  const Explanation kept = train_step(false);
  const Explanation computed_again = train_step(true);
  EXPECT_GT(computed_again.flops(), kept.flops());
  EXPECT_LT(computed_again.peak_bytes(), kept.peak_bytes());
}

TEST(Explain, ThePageOfATrainingStepFoldsItByLayerAndNeedsNothingElse) {
  const Explanation e = train_step();
  const std::string page = e.html();
  test::expect_balanced(page);
  test::expect_self_contained(page);
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_EQ(count(page, "class=\"row step\""), e.steps.size()) << "each step is there once";
  for (const char* part :
       {">model.layers.0</span>", ">gradient of model.layers.2</span>", ">self_attn</span>"})
    EXPECT_EQ(count(page, part) > 0, true) << part;
  EXPECT_EQ(count(page, ">model.layers.1</span>"), 1u) << "a layer is one part";
  EXPECT_EQ(page.find("<details class=\"part\" open"), std::string::npos) << "folded at first";
  for (const char* section : {"id=\"ops\"", "id=\"plan\"", "id=\"memory\"", "id=\"picture\"", "id=\"passes\"",
                              "id=\"recorded\"", "id=\"filter\""})
    EXPECT_EQ(count(page, section), 1u) << section;
}

TEST(Explain, ThePictureOfATrainingStepHasABoxAPart) {
  const Explanation e = train_step();
  const std::string picture = e.svg();
  test::expect_balanced(picture);
  test::expect_self_contained(picture);
  EXPECT_EQ(count(picture, "<title>model.layers.1</title>"), 1u);
  EXPECT_EQ(count(picture, "<title>gradient of model.layers.1</title>"), 1u);
  EXPECT_GT(count(picture, "class=\"edge"), 6u);
}

TEST(Explain, ADecodeStepUpdatesTheCacheInPlaceAndReadsTheWeightsOnce) {
  const Model model = Model::blank(small_config());
  const Explanation e = explain_forward(model, nullptr, 1, 1, 63);
  double weights = 0;
  for (const auto& [name, value] : model.parameters())
    if (value.rank() == 2 && name != "model.embed_tokens.weight")
      weights += static_cast<double>(value.bytes());
  double linear = 0;
  for (const ExplainedStep& step : e.steps) {
    if (step.op == "slice_update") {
      EXPECT_TRUE(step.in_place);
    }
    if (step.op == "linear" || step.op == "thin_linear") linear += step.bytes;
  }
  EXPECT_GE(linear, weights);
  const Explanation prompt = explain_forward(model, nullptr, 2, 16, 0);
  EXPECT_GT(prompt.flops(), 16 * e.flops());
}

TEST(Explain, PlansForTheThreadsThatAreChosen) {
  const int before = threads();
  const Tensor x = zeros({1, 4, 256, 64}).eval().detach();
  for (int count : {1, 4, 2}) {  // each takes scratch memory of its own
    set_threads(count);
    const Tensor y = attention(x, x, x);
    const std::uint64_t explained = explain({y}).arena_bytes;  // by a thread that computed with other numbers
    EXPECT_EQ(explained, plan_memory({y}).arena_bytes) << count << " threads";
  }
  set_threads(before);
}

TEST(Explain, ABlankModelTakesNoMemory) {
  ModelConfig config = small_config();
  config.layers = 80;
  config.hidden_size = 8192;
  config.intermediate_size = 28672;
  config.heads = config.kv_heads = 64;
  config.head_dim = 128;
  const std::uint64_t before = peak_bytes();
  const Model model = Model::blank(config, DType::bf16);
  EXPECT_EQ(peak_bytes(), before);
  EXPECT_GT(model.parameters().size(), 80u * 7);
  const std::vector<bfloat16> first =
      slice(model.parameter("model.norm.weight"), 0, 0, 4).to_vector<bfloat16>();
  EXPECT_EQ(first[0].bits, 0) << "it reads as zeros";
}

TEST(Explain, LengthsThatDoNotFitAreRefused) {
  const Model model = Model::blank(small_config());
  EXPECT_THROW(explain_forward(model, nullptr, 1, model.config().max_position_embeddings, 5), ArgumentError);
  EXPECT_THROW(explain_forward(model, nullptr, 0, 1, 5), ArgumentError);
  EXPECT_THROW(explain_train_step(Model::blank(small_config()), {}, {}, 1, 16), ArgumentError);
}

}  // namespace
}  // namespace wick
