// Whole models with random weights: greedy decoding through `generate`, and LoRA training steps.
#include <benchmark/benchmark.h>

#include <vector>

#include "model_shapes.h"
#include "support.h"
#include "train/train_step.h"
#include "wick/device.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/model.h"

namespace wick::bench {
namespace {

/// A model is made once, when the first benchmark needs it.
Model& stories_model() {
  static Model model = Model::random(stories260k(), 1, DType::f32);
  return model;
}
Model& qwen_model() {
  static Model model = Model::random(qwen_half_billion(), 1, DType::bf16);
  return model;
}

double weight_bytes(const Model& model) {
  double bytes = 0;
  for (const auto& [name, value] : model.parameters()) bytes += static_cast<double>(value.bytes());
  return bytes;
}

/// Weights that a token is multiplied with; a tied embedding counts once, as the head.
double multiplied_weights(const Model& model) {
  double count = 0;
  for (const auto& [name, value] : model.parameters())
    if (value.rank() == 2) count += static_cast<double>(value.elements());
  return count;
}

/// "held_bytes": the most that the process held, all weights included; "peak_bytes": this model's weights and
/// what evaluations added.
void count_memory(benchmark::State& state, const Model& model, const PeakMemory& memory) {
  state.counters["weight_bytes"] = weight_bytes(model);
  state.counters["held_bytes"] = static_cast<double>(peak_bytes());
  state.counters["peak_bytes"] = weight_bytes(model) + memory.bytes();
}

/// The time of one iteration is that of one token after the first.
void greedy_decode(benchmark::State& state, const Model& model, std::int64_t tokens) {
  const Tokenizer tokenizer = empty_tokenizer();
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = tokens;
  const std::vector<std::int32_t> prompt{1, 2, 3, 4, 5, 6, 7, 8};
  const PeakMemory memory;
  (void)generate(model, tokenizer, prompt, options);
  for (auto _ : state)
    state.SetIterationTime(1 / generate(model, tokenizer, prompt, options).tokens_per_second);
  count_memory(state, model, memory);
}

void greedy_decode_on_one_core(benchmark::State& state) {
  const int before = threads();
  set_threads(1);
  greedy_decode(state, stories_model(), 256);
  set_threads(before);
}

Batch random_batch(const ModelConfig& config, std::int64_t rows, std::int64_t length) {
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.target_tokens = rows * (length - 1);
  for (std::int64_t i = 0; i < rows * length; ++i) {
    const auto id = static_cast<std::int32_t>(i * 7919 % config.vocab_size);
    batch.input_ids.push_back(id);
    batch.labels.push_back(id);
    batch.positions.push_back(static_cast<std::int32_t>(i % length));
    batch.segments.push_back(1);
  }
  return batch;
}

/// Forward, backward, clipping and AdamW for rank 8 on q and v. FLOPs: 4 a weight and token, forward and the
/// gradient of the activations; frozen weights need none of their own.
void training_step(benchmark::State& state, Model& model, std::int64_t rows, std::int64_t length,
                   bool checkpointing = false) {
  LoraAdapter adapter = LoraAdapter::create(model, LoraConfig{}, 1);
  TrainStep step(model, &adapter, {.adamw = {}, .gradient_checkpointing = checkpointing});
  const std::vector<BatchTensors> batches{BatchTensors(random_batch(model.config(), rows, length))};
  std::int64_t count = 0;
  const PeakMemory memory;
  for (int warm_up = 0; warm_up < 2; ++warm_up)
    step.run(batches, count++, 1e-4);  // the second keeps weights packed
  for (auto _ : state) benchmark::DoNotOptimize(step.run(batches, count++, 1e-4).loss);
  count_memory(state, model, memory);
  count_work(state,
             {.flops = 4.0 * multiplied_weights(model) * static_cast<double>(rows * length), .bytes = 0});
}

void add_decoding(const std::string& name, std::function<void(benchmark::State&)> body) {
  benchmark::RegisterBenchmark(("decode/" + name).c_str(), std::move(body))
      ->UseManualTime()
      ->Iterations(1)
      ->Repetitions(1);
}

[[maybe_unused]] const bool registered = [] {
  add_decoding("stories260k_one_core/lazy", greedy_decode_on_one_core);
  add_decoding("stories260k/lazy",
               [](benchmark::State& state) { greedy_decode(state, stories_model(), 256); });
  add_decoding("qwen2.5-0.5b_bf16/lazy",
               [](benchmark::State& state) { greedy_decode(state, qwen_model(), 24); });
  add_benchmark("lora_step/stories260k_f32/4x256/lazy",
                [](benchmark::State& state) { training_step(state, stories_model(), 4, 256); });
  add_benchmark("lora_step/stories260k_f32/4x256/eager", [](benchmark::State& state) {
    const EagerScope eager;
    training_step(state, stories_model(), 4, 256);
  });
  add_benchmark("lora_step/stories260k_f32/4x256_checkpointed/lazy",
                [](benchmark::State& state) { training_step(state, stories_model(), 4, 256, true); });
  for (bool checkpointing : {false, true})
    add_benchmark(
        std::string("lora_step/qwen2.5-0.5b_bf16/1x512") + (checkpointing ? "_checkpointed" : "") + "/lazy",
        [=](benchmark::State& state) { training_step(state, qwen_model(), 1, 512, checkpointing); })
        ->Iterations(1)
        ->Repetitions(1);
  return true;
}();

}  // namespace
}  // namespace wick::bench
