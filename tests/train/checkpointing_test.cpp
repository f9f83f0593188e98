// Gradient checkpointing of the decoder's layers: the same values with less planned memory.
#include <gtest/gtest.h>

#include "train/train_step.h"
#include "train/training_harness.h"
#include "wick/eval.h"
#include "wick/memory.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Model deep_model(std::int64_t layers) {
  ModelConfig config;
  config.vocab_size = 64;
  config.hidden_size = 32;
  config.intermediate_size = 88;
  config.layers = layers;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.initializer_range = 0.2;
  return Model::random(config, 1);
}

std::vector<BatchTensors> some_batches(std::int64_t batch_size, int count, bool packing = false) {
  Batches batches(tiny_data(24), {.batch_size = batch_size, .seq_len = 64, .packing = packing});
  std::vector<BatchTensors> taken;
  for (int i = 0; i < count; ++i) taken.emplace_back(batches.next());
  return taken;
}

std::vector<Tensor> loss_and_gradients(Model& model, LoraAdapter* adapter,
                                       std::span<const BatchTensors> batches, bool checkpointing) {
  TrainStep step(model, adapter, {.adamw = {}, .gradient_checkpointing = checkpointing});
  auto [loss, all] = step.loss_and_gradients(batches, 3);
  all.push_back(loss);
  return all;
}

struct Case {
  const char* name;
  bool full;
  double dropout;
  int micro_batches;
  bool packing;
  bool eager;
};

class CheckpointingGradients : public ::testing::TestWithParam<Case> {};

TEST_P(CheckpointingGradients, AreTheSameBits) {
  const Case& c = GetParam();
  Model model = deep_model(3);
  std::optional<LoraAdapter> adapter;
  if (!c.full) adapter = tiny_adapter(model, c.dropout);
  const std::vector<BatchTensors> batches = some_batches(3, c.micro_batches, c.packing);
  const std::vector<Tensor> kept = loss_and_gradients(model, adapter ? &*adapter : nullptr, batches, false);
  eval(kept);
  std::optional<EagerScope> eager;
  if (c.eager) eager.emplace();
  const std::vector<Tensor> again = loss_and_gradients(model, adapter ? &*adapter : nullptr, batches, true);
  eval(again);
  ASSERT_EQ(kept.size(), again.size());
  for (std::size_t i = 0; i < kept.size(); ++i)
    EXPECT_EQ(kept[i].to_vector<float>(), again[i].to_vector<float>()) << "gradient " << i;
}

INSTANTIATE_TEST_SUITE_P(Cases, CheckpointingGradients,
                         ::testing::Values(Case{"lora", false, 0, 1, false, false},
                                           Case{"dropout", false, 0.3, 1, false, false},
                                           Case{"accumulation", false, 0.3, 3, false, false},
                                           Case{"packed", false, 0, 1, true, false},
                                           Case{"full", true, 0, 1, false, false},
                                           Case{"eager", false, 0.3, 2, false, true}),
                         [](const auto& i) { return i.param.name; });

std::uint64_t planned_bytes(std::int64_t layers, bool full, bool checkpointing) {
  Model model = deep_model(layers);
  std::optional<LoraAdapter> adapter;
  if (!full) adapter = tiny_adapter(model);
  const std::vector<BatchTensors> batches = some_batches(8, 1);
  return plan_memory(loss_and_gradients(model, adapter ? &*adapter : nullptr, batches, checkpointing))
      .peak_bytes();
}

TEST(Checkpointing, OfALayerOnlyItsInputIsKept) {
  const BatchTensors batch = some_batches(8, 1)[0];
  const auto residual = static_cast<std::uint64_t>(batch.ids.elements() * 32) * sizeof(float);
  for (bool full : {false, true}) {
    for (std::int64_t layers : {2, 12, 24})
      EXPECT_LT(planned_bytes(layers, full, true), planned_bytes(layers, full, false)) << layers;
    // Beside the stream of each layer, its weights' gradients are held in the end: 32 rows of weights here.
    const std::uint64_t gradients = full ? 12 * 65536 : 12 * 8192;
    EXPECT_LE(planned_bytes(24, full, true) - planned_bytes(12, full, true), 12 * residual + gradients);
    EXPECT_GT(planned_bytes(24, full, false), 3 * planned_bytes(24, full, true));
  }
}

/// What the gradients of the last layers' weights are computed from is not kept until those of the first
/// layers are there.
TEST(Checkpointing, NeedsAnOrderThatTakesGradientsEarly) {
  for (bool full : {false, true}) {
    const std::uint64_t kept = planned_bytes(24, full, false);
    const std::uint64_t again = planned_bytes(24, full, true);
    const DisablePassesScope without({"schedule"});
    EXPECT_LE(kept, planned_bytes(24, full, false));
    EXPECT_LT(3 * again, 2 * planned_bytes(24, full, true));
  }
}

}  // namespace
}  // namespace wick
