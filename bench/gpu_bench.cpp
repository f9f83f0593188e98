// Kernels, chains and whole models of the sizes that a GPU is for, on the first GPU; registers nothing where
// there is none. A time is the caller's wait: recorded, replayed and waited for.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <vector>

#include "model_shapes.h"
#include "support.h"
#include "train/train_step.h"
#include "wick/device.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/grad.h"
#include "wick/model.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

Device gpu() {
  for (const DeviceInfo& info : devices())
    if (info.device.kind == DeviceKind::cuda) return info.device;
  return cpu;
}

Tensor on_gpu(const Shape& shape, DType dtype, std::uint64_t seed = 7) {
  return cast(random_normal(random_key(seed).to(gpu()), shape), dtype).detach();
}

/// Registers one case; its data lives while it is measured.
void add_case(const std::string& name, const Prepare& prepare, const Work& work = {}) {
  add_benchmark(name + "/lazy", [=](benchmark::State& state) { time_lazy(state, prepare(), work); });
  add_benchmark(name + "/compiled", [=](benchmark::State& state) { time_compiled(state, prepare(), work); });
}

/// As one op of weights [out, in], and as plain ops of matrices [in, out].
void add_lora_linear(std::int64_t rows, std::int64_t in, std::int64_t out, std::int64_t rank) {
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in * out + rank * (in + out));
  const std::string size = std::to_string(rows) + "x" + std::to_string(in) + "x" + std::to_string(out) +
                           "/r:" + std::to_string(rank);
  add_case("lora_linear/bf16/" + size,
           [=]() -> Record {
             const Tensor x = on_gpu({rows, in}, DType::bf16);
             const Tensor w = on_gpu({out, in}, DType::bf16, 8);
             const Tensor a = on_gpu({rank, in}, DType::f32, 9);
             const Tensor b = on_gpu({out, rank}, DType::f32, 10);
             return [=] { return lora_linear(x, w, {}, a, b, 2.0); };
           },
           {.flops = flops, .bytes = 0});
  add_case("lora_matrices/bf16/" + size,
           [=]() -> Record {
             const Tensor x = on_gpu({rows, in}, DType::bf16);
             const Tensor w = on_gpu({in, out}, DType::bf16, 8);
             const Tensor a = on_gpu({in, rank}, DType::f32, 9);
             const Tensor b = on_gpu({rank, out}, DType::f32, 10);
             return [=] {
               const Tensor delta = matmul(matmul(cast(x, DType::f32), a), b) * 2.0;
               return matmul(x, w) + cast(delta, DType::bf16);
             };
           },
           {.flops = flops, .bytes = 0});
}

/// The loss of a head in plain ops and its gradient with respect to hidden, of a weight [classes, d] or, as a
/// matrix, [d, classes].
void add_head(std::int64_t rows, std::int64_t d, std::int64_t classes) {
  for (const bool as_matrix : {false, true})
    add_case(std::string(as_matrix ? "head_matrix" : "head") + "/bf16/" + std::to_string(rows) + "x" +
                 std::to_string(d) + "x" + std::to_string(classes),
             [=]() -> Record {
               const Tensor hidden = on_gpu({rows, d}, DType::bf16);
               const Tensor w = on_gpu(as_matrix ? Shape{d, classes} : Shape{classes, d}, DType::bf16, 8);
               const Tensor targets = arange(rows, DType::i64).to(gpu()).detach();
               return [=] {
                 const Tensor logits = as_matrix ? matmul(hidden, w) : matmul(hidden, transpose(w));
                 return grad(cross_entropy(cast(logits, DType::f32), targets), {hidden})[0];
               };
             },
             {.flops = 4.0 * static_cast<double>(rows * d) * static_cast<double>(classes), .bytes = 0});
}

/// A product with its bias and what follows it: an activation, or what it is added to.
void add_linear_epilogue(const std::string& name, bool activates) {
  add_case(name + "/bf16/8192x1024x4096",
           [=]() -> Record {
             const Tensor x = on_gpu({8192, 1024}, DType::bf16);
             const Tensor w = on_gpu({4096, 1024}, DType::bf16, 8);
             const Tensor bias = on_gpu({4096}, DType::bf16, 9);
             const Tensor residual = on_gpu({8192, 4096}, DType::bf16, 10);
             return [=] {
               const Tensor y = linear(x, w, bias);
               return activates ? gelu_tanh(y) : y + residual;
             };
           },
           {.flops = 2.0 * 8192 * 1024 * 4096, .bytes = 0});
}

void add_row_op(const std::string& name, Tensor (*op)(const Tensor&)) {
  constexpr std::int64_t n = 8192;
  add_case(name + "/bf16/8192x8192",
           [op]() -> Record {
             const Tensor x = on_gpu({n, n}, DType::bf16);
             return [=] { return op(x); };
           },
           {.flops = 0, .bytes = 2.0 * 2 * n * n});
}

/// A loss in plain ops: reads two arrays and makes one number.
void add_squared_difference(std::int64_t count) {
  add_case("mean_squared_difference/f32/" + std::to_string(count >> 20) + "M",
           [=]() -> Record {
             const Tensor x = on_gpu({count}, DType::f32);
             const Tensor y = on_gpu({count}, DType::f32, 8);
             return [=] { return mean(square(x - y)); };
           },
           {.flops = 0, .bytes = 8.0 * static_cast<double>(count)});
}

/// A chain of cheap ops: what recording, finding the plan and one replay cost.
Tensor chain_of_200(Tensor x, const Tensor& y) {
  for (int i = 0; i < 100; ++i) x = (x + y) * y;
  return x;
}

Model& model_of(const ModelConfig& config) {
  static std::unique_ptr<Model> model;
  static std::int64_t hidden = 0;
  if (hidden != config.hidden_size) {  // one at a time: two may not fit
    model.reset();
    model = std::make_unique<Model>(Model::random(config, 1, DType::bf16, gpu()));
    hidden = config.hidden_size;
  }
  return *model;
}

double multiplied_weights(const Model& model) {
  double count = 0;
  for (const auto& [name, value] : model.parameters())
    if (value.rank() == 2) count += static_cast<double>(value.elements());
  return count;
}

void count_memory(benchmark::State& state) {
  state.counters["held_bytes"] = static_cast<double>(peak_bytes(gpu()));
}

Batch batch_of(const ModelConfig& config, std::int64_t rows, std::int64_t length) {
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.target_tokens = rows * (length - 1);
  for (std::int64_t i = 0; i < rows * length; ++i) {
    batch.input_ids.push_back(static_cast<std::int32_t>(i * 7919 % config.vocab_size));
    batch.positions.push_back(static_cast<std::int32_t>(i % length));
    batch.segments.push_back(1);
  }
  batch.labels = batch.input_ids;
  return batch;
}

struct StepCase {
  std::int64_t rows;
  std::int64_t length;
  std::int64_t rank;
  bool all_linear;
  bool checkpointed = false;
};

/// As the trainer does it: each step is recorded while the one before runs. A time is that of one step.
void training_step(benchmark::State& state, const ModelConfig& shape, const StepCase& what) {
  Model& model = model_of(shape);
  LoraConfig config;
  config.rank = what.rank;
  if (what.all_linear) config.target_modules = AllLinear{};
  LoraAdapter adapter = LoraAdapter::create(model, config, 1);
  TrainStepOptions options;
  options.gradient_checkpointing = what.checkpointed;
  TrainStep step(model, &adapter, options);
  const std::vector<BatchTensors> batches{BatchTensors(batch_of(shape, what.rows, what.length))};
  std::int64_t count = 0;
  reset_peak_bytes(gpu());
  for (int i = 0; i < 3; ++i) step.run(batches, count++, 1e-4);
  TrainStep::Running running = step.submit(batches, count++, 1e-4);
  for (auto _ : state) {
    TrainStep::Running next = step.submit(batches, count++, 1e-4, &running);
    benchmark::DoNotOptimize(running.outcome().loss);
    running = std::move(next);
  }
  (void)running.outcome();
  count_memory(state);
  count_work(state, {.flops = 4.0 * multiplied_weights(model) * static_cast<double>(what.rows * what.length),
                     .bytes = 0});
}

Tensor ids_of(std::int64_t rows, std::int64_t length, std::int64_t vocab) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < rows * length; ++i) ids.push_back(i * 7919 % vocab);
  return Tensor::from(ids, {rows, length});
}

void prefill(benchmark::State& state, const ModelConfig& shape, std::int64_t rows, std::int64_t length) {
  const Model& model = model_of(shape);
  ModelInput input;
  input.ids = ids_of(rows, length, shape.vocab_size);
  input.last_only = true;
  const auto run = [&] { argmax(model.forward(input)).eval(); };
  for (int i = 0; i < 3; ++i) run();
  for (auto _ : state) run();
  count_memory(state);
  count_work(state,
             {.flops = 2.0 * multiplied_weights(model) * static_cast<double>(rows * length), .bytes = 0});
}

/// One greedy step a row behind `context` positions; the token stays on the GPU, and each step is recorded
/// while the one before runs, as generation does it. A time is that of one step.
void decode(benchmark::State& state, const ModelConfig& shape, std::int64_t rows, std::int64_t context) {
  constexpr std::int64_t steps = 64;
  const Model& model = model_of(shape);
  KvCache cache = model.make_cache(rows, context + steps);
  Tensor ids = ids_of(rows, context, shape.vocab_size);
  const auto advance = [&] {
    ModelInput input;
    input.ids = ids;
    input.cache = &cache;
    input.last_only = true;
    ids = reshape(argmax(model.forward(input)), {rows, 1});
    std::vector<Tensor> outputs{ids};
    for (const KvCache::Layer& layer : cache.layers) {
      outputs.push_back(layer.k);
      outputs.push_back(layer.v);
    }
    eval_async(outputs, History::drop);
  };
  const auto advance_and_wait = [&] {
    advance();
    ids.eval();
  };
  advance_and_wait();  // the prompt
  for (int i = 0; i < 4; ++i) advance_and_wait();
  for (auto _ : state) {
    const Tensor before = ids;
    cache.length = context;
    advance();
    before.eval();
  }
  ids.eval();
  count_memory(state);
  double bytes = 0;
  for (const auto& [name, value] : model.parameters()) bytes += static_cast<double>(value.bytes());
  count_work(state, {.flops = 0, .bytes = bytes});
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kIsIterationInvariantRate);
}

/// Text as users generate it: ids, probabilities and logits on the host. A time is that of one token.
void generate_text(benchmark::State& state, const ModelConfig& shape, const SamplingOptions& sampling) {
  const Model& model = model_of(shape);
  const Tokenizer tokenizer = empty_tokenizer();
  const GenerateOptions options{.max_tokens = 128, .sampling = sampling, .stop = {}};
  const std::vector<std::int32_t> prompt(512, 5);
  (void)generate(model, tokenizer, prompt, options);
  for (auto _ : state)
    state.SetIterationTime(1 / generate(model, tokenizer, prompt, options).tokens_per_second);
}

void add_generation(const std::string& name, const ModelConfig& shape) {
  const std::vector<std::pair<std::string, SamplingOptions>> ways{
      {"greedy", {.temperature = 0}},
      {"drawn", {.temperature = 0.8}},
      {"filtered", {.temperature = 0.8, .top_k = 50, .top_p = 0.9, .repetition_penalty = 1.1}}};
  for (const auto& way : ways)
    benchmark::RegisterBenchmark(("generate/" + name + "/" + way.first + "/lazy").c_str(),
                                 [=](benchmark::State& state) { generate_text(state, shape, way.second); })
        ->UseManualTime()
        ->Iterations(2);
}

void add_model(const std::string& name, const ModelConfig& shape, const std::vector<StepCase>& steps) {
  for (const StepCase& s : steps)
    add_benchmark("lora_step/" + name + "/" + std::to_string(s.rows) + "x" + std::to_string(s.length) +
                      "/r:" + std::to_string(s.rank) + (s.all_linear ? "_all" : "_qv") +
                      (s.checkpointed ? "_checkpointed" : "") + "/lazy",
                  [=](benchmark::State& state) { training_step(state, shape, s); });
  add_benchmark("prefill/" + name + "/32x512/lazy",
                [=](benchmark::State& state) { prefill(state, shape, 32, 512); });
  for (std::int64_t rows : {1, 32})
    add_benchmark("decode/" + name + "/batch:" + std::to_string(rows) + "/context:512/lazy",
                  [=](benchmark::State& state) { decode(state, shape, rows, 512); });
}

[[maybe_unused]] const bool registered = [] {
  if (gpu() == cpu) return false;
  add_lora_linear(64, 1024, 1024, 8);
  add_lora_linear(8192, 4096, 4096, 16);
  add_head(4096, 896, 151936);
  add_row_op("softmax", [](const Tensor& x) { return softmax(x); });
  add_row_op("rms_norm", [](const Tensor& x) { return rms_norm(x, {}, 1e-6); });
  add_linear_epilogue("linear_gelu", true);
  add_linear_epilogue("linear_residual", false);
  add_squared_difference(std::int64_t{1} << 26);
  add_case("matmul_softmax_norm/f32/3x4", []() -> Record {
    const Tensor a = on_gpu({3, 5}, DType::f32);
    const Tensor b = on_gpu({5, 4}, DType::f32, 8);
    const Tensor c = on_gpu({4}, DType::f32, 9);
    return [=] { return rms_norm(softmax((matmul(a, b) + c) * 2.0), {}, 1e-6); };
  });
  add_case("chain_200/f32/1024", []() -> Record {
    const Tensor x = on_gpu({1024}, DType::f32);
    const Tensor y = on_gpu({1024}, DType::f32, 8);
    return [=] { return chain_of_200(x, y); };
  });
  add_model("qwen2.5-0.5b_bf16", qwen_half_billion(), {{8, 512, 16, true}, {1, 512, 8, false}});
  add_generation("qwen2.5-0.5b_bf16", qwen_half_billion());
  add_model("qwen2.5-7b_bf16", qwen_seven_billion(), {{4, 1024, 16, true}, {4, 1024, 16, true, true}});
  return true;
}();

}  // namespace
}  // namespace wick::bench
