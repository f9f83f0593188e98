// What an evaluation costs: recording, planning, execution, lazy against eager. CPU evaluation ends when the
// data is there, so every timed loop includes the wait.
#include <benchmark/benchmark.h>

#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

Tensor random_data(const Shape& shape, DType dtype = DType::f32) {
  return cast(random_normal(random_key(7), shape), dtype).eval().detach();
}

Tensor long_chain(const Tensor& x) {
  Tensor y = x;
  for (int i = 0; i < 200; ++i) y = i % 2 == 0 ? y * 1.0001 : y + 0.0001;
  return y;
}

void record_node(benchmark::State& state) {
  const Tensor x = random_data({4});
  for (auto _ : state) benchmark::DoNotOptimize(add(x, x));
}
BENCHMARK(record_node);

void tiny_op(benchmark::State& state) {
  const Tensor x = random_data({4});
  for (auto _ : state) benchmark::DoNotOptimize(add(x, x).eval());
}
BENCHMARK(tiny_op);

void tiny_op_async(benchmark::State& state) {
  const Tensor x = random_data({4});
  for (auto _ : state) add(x, x).eval_async().wait();
}
BENCHMARK(tiny_op_async)->UseRealTime();

void chain_of_200_lazy(benchmark::State& state) {
  const Tensor x = random_data({1024});
  for (auto _ : state) benchmark::DoNotOptimize(long_chain(x).eval());
}
BENCHMARK(chain_of_200_lazy);

void chain_of_200_eager(benchmark::State& state) {
  const Tensor x = random_data({1024});
  const EagerScope eager;
  for (auto _ : state) benchmark::DoNotOptimize(long_chain(x));
}
BENCHMARK(chain_of_200_eager);

void row_op(benchmark::State& state, Tensor (*op)(const Tensor&)) {
  const Tensor x = random_data({1024, 1024});
  for (auto _ : state) benchmark::DoNotOptimize(op(x).eval());
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * 4 * 1024 * 1024);
}
BENCHMARK_CAPTURE(row_op, softmax, [](const Tensor& x) { return softmax(x); })->UseRealTime();
BENCHMARK_CAPTURE(row_op, rms_norm, [](const Tensor& x) { return rms_norm(x, {}, 1e-6); })->UseRealTime();
BENCHMARK_CAPTURE(row_op, layer_norm, [](const Tensor& x) {
  return layer_norm(x, {}, {}, 1e-6);
})->UseRealTime();

/// 64 rows, rank 8; the argument is the size of the square layer. Counts the products' operations.
void lora_layer(benchmark::State& state, DType dtype) {
  const std::int64_t d = state.range(0);
  constexpr std::int64_t rows = 64;
  constexpr std::int64_t rank = 8;
  const Tensor x = random_data({rows, d}, dtype);
  const Tensor w = random_data({d, d}, dtype);
  const Tensor a = random_data({rank, d});
  const Tensor b = random_data({d, rank});
  for (auto _ : state) benchmark::DoNotOptimize(lora_linear(x, w, {}, a, b, 2.0).eval());
  state.counters["FLOP/s"] = benchmark::Counter(static_cast<double>(2 * rows * d * d + 4 * rows * d * rank),
                                                benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(lora_layer, f32, DType::f32)->Arg(512)->Arg(1024)->Arg(2048)->UseRealTime();
BENCHMARK_CAPTURE(lora_layer, bf16, DType::bf16)->Arg(512)->Arg(1024)->Arg(2048)->UseRealTime();

void square_matmul(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const Tensor a = random_data({n, n});
  const Tensor b = random_data({n, n});
  for (auto _ : state) benchmark::DoNotOptimize(matmul(a, b).eval());
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * static_cast<double>(n * n * n), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(square_matmul)->RangeMultiplier(2)->Range(64, 2048)->UseRealTime();

}  // namespace
}  // namespace wick
