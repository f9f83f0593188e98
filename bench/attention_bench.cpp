// Attention: prefill, prefill behind a KV cache, backward, decode. FLOP/s count the products of visible keys
// only.
#include <benchmark/benchmark.h>

#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

constexpr std::int64_t head_dim = 64;

Tensor random_data(const Shape& shape, DType dtype) {
  return cast(random_normal(random_key(7), shape), dtype).eval().detach();
}

void count_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

/// Products of one query head over a causal square, `products` of them.
double causal_flops(std::int64_t length, std::int64_t heads, int products) {
  const double seen = static_cast<double>(length) * static_cast<double>(length) / 2;
  return products * 2.0 * seen * static_cast<double>(head_dim * heads);
}

struct Qkv {
  Tensor q;
  Tensor k;
  Tensor v;
};

/// Heads of projections, as a model has them: [batch, length, heads, d], permuted.
Qkv projected_heads(std::int64_t m, std::int64_t n, std::int64_t heads, std::int64_t kv_heads, DType dtype) {
  const auto draw = [&](std::int64_t length, std::int64_t count) {
    return permute(random_data({1, length, count, head_dim}, dtype), {0, 2, 1, 3});
  };
  return {draw(m, heads), draw(n, kv_heads), draw(n, kv_heads)};
}

/// Argument: the length.
void causal(benchmark::State& state, DType dtype) {
  const std::int64_t length = state.range(0);
  const Qkv x = projected_heads(length, length, 14, 14, dtype);
  for (auto _ : state) benchmark::DoNotOptimize(attention(x.q, x.k, x.v, {.causal = true}).eval());
  count_flops(state, causal_flops(length, 14, 2));
}
BENCHMARK_CAPTURE(causal, f32, DType::f32)->RangeMultiplier(2)->Range(512, 4096)->UseRealTime();
BENCHMARK_CAPTURE(causal, bf16, DType::bf16)->RangeMultiplier(2)->Range(512, 4096)->UseRealTime();

/// What a permutation of the result to [batch, length, heads * d] costs beside it.
void heads_to_rows(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  const Tensor x = random_data({1, 14, length, head_dim}, DType::f32);
  for (auto _ : state)
    benchmark::DoNotOptimize(reshape(permute(x, {0, 2, 1, 3}), {1, length, 14 * head_dim}).eval());
}
BENCHMARK(heads_to_rows)->Arg(512)->Arg(2048)->UseRealTime();

/// 256 queries behind a cache of so many keys, two query heads a key head.
void after_cache(benchmark::State& state, DType dtype) {
  const std::int64_t length = state.range(0);
  constexpr std::int64_t m = 256;
  const Tensor q = random_data({1, 14, m, head_dim}, dtype);
  const Tensor k = random_data({1, 7, 2 * length, head_dim}, dtype);
  const Tensor v = random_data({1, 7, 2 * length, head_dim}, dtype);
  const Tensor offset = Tensor::scalar<std::int64_t>(length - m);
  for (auto _ : state) benchmark::DoNotOptimize(attention(q, k, v, {.causal = true}, {}, offset).eval());
  count_flops(state, 4.0 * 14 * head_dim * m * (static_cast<double>(length) - m / 2.0));
}
BENCHMARK_CAPTURE(after_cache, f32, DType::f32)->Arg(2048)->UseRealTime();
BENCHMARK_CAPTURE(after_cache, bf16, DType::bf16)->Arg(2048)->UseRealTime();

/// Gradients of q, k and v alone: five products.
void causal_backward(benchmark::State& state, DType dtype, std::int64_t kv_heads) {
  const std::int64_t length = state.range(0);
  const Qkv x = projected_heads(length, length, 14, kv_heads, dtype);
  const Tensor out = attention(x.q, x.k, x.v, {.causal = true});
  const Tensor weight = random_data(out.shape(), dtype);
  const Tensor loss = sum(out * weight);
  (void)out.eval();
  for (auto _ : state) eval(grad(loss, {x.q, x.k, x.v}));
  count_flops(state, causal_flops(length, 14, 5));
}
BENCHMARK_CAPTURE(causal_backward, f32, DType::f32, 14)->Arg(512)->Arg(2048)->UseRealTime();
BENCHMARK_CAPTURE(causal_backward, bf16, DType::bf16, 14)->Arg(512)->Arg(2048)->UseRealTime();
BENCHMARK_CAPTURE(causal_backward, bf16_grouped, DType::bf16, 2)->Arg(512)->Arg(2048)->UseRealTime();

/// One query a head behind a cache with room for twice as many keys as it holds. Bytes are those of the keys
/// and values that are seen. Arguments: length, query heads, key heads, d.
void decode(benchmark::State& state, DType dtype) {
  const std::int64_t length = state.range(0);
  const std::int64_t heads = state.range(1);
  const std::int64_t kv_heads = state.range(2);
  const std::int64_t d = state.range(3);
  const Tensor q = random_data({1, heads, 1, d}, dtype);
  const Tensor k = random_data({1, kv_heads, 2 * length, d}, dtype);
  const Tensor v = random_data({1, kv_heads, 2 * length, d}, dtype);
  const Tensor offset = Tensor::scalar<std::int64_t>(length - 1);
  for (auto _ : state) benchmark::DoNotOptimize(attention(q, k, v, {.causal = true}, {}, offset).eval());
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * length * kv_heads * d *
                          static_cast<std::int64_t>(size_of(dtype)));
}
BENCHMARK_CAPTURE(decode, f32, DType::f32)->Args({256, 8, 4, 8})->Args({4096, 14, 2, 64})->UseRealTime();
BENCHMARK_CAPTURE(decode, bf16, DType::bf16)
    ->Args({4096, 14, 2, 64})
    ->Args({16384, 32, 8, 128})
    ->UseRealTime();

}  // namespace
}  // namespace wick
