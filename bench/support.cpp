#include "support.h"

#include <map>
#include <mutex>

#include "wick/compiled.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

/// The first step plans, the second keeps what was packed; they are not timed. "peak_bytes" counts them.
template <typename Step>
void time_steps(benchmark::State& state, const Work& work, const Step& step) {
  const PeakMemory memory;
  for (int warm_up = 0; warm_up < 2; ++warm_up) step();
  for (auto _ : state) step();
  state.counters["peak_bytes"] = memory.bytes();
  count_work(state, work);
}

}  // namespace

PeakMemory::PeakMemory() {
  release_kept_memory();
  reset_peak_bytes();
  held_ = peak_bytes();
}

double PeakMemory::bytes() const { return static_cast<double>(peak_bytes() - held_); }

Tensor random_data(const Shape& shape, DType dtype, std::uint64_t seed) {
  static std::map<std::string, Tensor> made;
  const std::string key = shape.str() + std::string(name_of(dtype)) + std::to_string(seed);
  Tensor& tensor = made[key];
  if (!tensor.defined()) tensor = cast(random_normal(random_key(seed), shape), dtype).detach();
  return tensor;
}

Tokenizer empty_tokenizer() {
  return Tokenizer::from_json(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0}, "merges": []}})");
}

void count_work(benchmark::State& state, const Work& work) {
  using benchmark::Counter;
  if (work.flops > 0) state.counters["FLOP/s"] = Counter(work.flops, Counter::kIsIterationInvariantRate);
  if (work.bytes > 0) state.counters["bytes/s"] = Counter(work.bytes, Counter::kIsIterationInvariantRate);
}

void time_lazy(benchmark::State& state, const Record& record, const Work& work) {
  time_steps(state, work, [&] { record().eval(); });
}

void time_eager(benchmark::State& state, const Record& record, const Work& work) {
  const EagerScope eager;
  time_steps(state, work, [&] { record().eval(); });
}

void time_async(benchmark::State& state, const Record& record, const Work& work) {
  time_steps(state, work, [&] { record().eval_async().wait(); });
}

void time_compiled(benchmark::State& state, const Record& record, const Work& work) {
  const Compiled work_once([&record](const std::vector<Tensor>&) { return std::vector<Tensor>{record()}; });
  time_steps(state, work, [&] { benchmark::DoNotOptimize(work_once({})); });
}

benchmark::internal::Benchmark* add_benchmark(const std::string& name,
                                              std::function<void(benchmark::State&)> body) {
  return benchmark::RegisterBenchmark(name.c_str(), std::move(body))->UseRealTime();
}

void compare_modes(const std::string& name, const Prepare& prepare, const Work& work) {
  add_benchmark(name + "/lazy", [=](benchmark::State& state) { time_lazy(state, prepare(), work); });
  add_benchmark(name + "/eager", [=](benchmark::State& state) { time_eager(state, prepare(), work); });
  add_benchmark(name + "/compiled", [=](benchmark::State& state) { time_compiled(state, prepare(), work); });
  add_benchmark(name + "/async", [=](benchmark::State& state) { time_async(state, prepare(), work); });
}

}  // namespace wick::bench
