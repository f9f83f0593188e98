// Attention: prefill, prefill behind a KV cache, backward, decode. FLOP/s count the products of visible keys
// only, bytes/s of decoding the keys and values that are seen.
#include <benchmark/benchmark.h>

#include "support.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

constexpr std::int64_t head_dim = 64;

/// Products of one query head over a causal square, `products` of them.
double causal_flops(std::int64_t length, std::int64_t heads, int products) {
  const double seen = static_cast<double>(length) * static_cast<double>(length) / 2;
  return products * 2.0 * seen * static_cast<double>(head_dim * heads);
}

std::string name_of_case(const std::string& name, DType dtype, std::int64_t length) {
  return name + "/" + std::string(name_of(dtype)) + "/" + std::to_string(length);
}

void add_lazy(const std::string& name, const Prepare& prepare, const Work& work = {}) {
  add_benchmark(name, [=](benchmark::State& state) { time_lazy(state, prepare(), work); });
}

/// Heads of projections, as a model has them: [batch, length, heads, d], permuted.
Tensor projected_heads(std::int64_t length, std::int64_t heads, DType dtype, std::uint64_t seed) {
  return permute(random_data({1, length, heads, head_dim}, dtype, seed), {0, 2, 1, 3}).eval();
}

void add_causal(std::int64_t length, DType dtype) {
  const auto prepare = [=]() -> Record {
    const Tensor q = projected_heads(length, 14, dtype, 7);
    const Tensor k = projected_heads(length, 14, dtype, 8);
    const Tensor v = projected_heads(length, 14, dtype, 9);
    return [=] { return attention(q, k, v, {.causal = true}); };
  };
  compare_modes(name_of_case("causal", dtype, length), prepare,
                {.flops = causal_flops(length, 14, 2), .bytes = 0});
}

/// What a permutation of the result to [batch, length, heads * d] costs beside it.
void add_heads_to_rows(std::int64_t length) {
  add_lazy("heads_to_rows/" + std::to_string(length), [=]() -> Record {
    const Tensor x = random_data({1, 14, length, head_dim});
    return [=] { return reshape(permute(x, {0, 2, 1, 3}), {1, length, 14 * head_dim}); };
  });
}

/// Queries behind a cache of `length` keys with room for twice as many.
struct Cached {
  std::int64_t queries;
  std::int64_t length;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t d;
};

Prepare behind_cache(const Cached& c, DType dtype) {
  return [=]() -> Record {
    const Tensor q = random_data({1, c.heads, c.queries, c.d}, dtype);
    const Tensor k = random_data({1, c.kv_heads, 2 * c.length, c.d}, dtype, 8);
    const Tensor v = random_data({1, c.kv_heads, 2 * c.length, c.d}, dtype, 9);
    const Tensor offset = Tensor::scalar<std::int64_t>(c.length - c.queries);
    return [=] { return attention(q, k, v, {.causal = true}, {}, offset); };
  };
}

void add_after_cache(DType dtype) {
  const Cached c{256, 2048, 14, 7, 64};
  const auto seen = static_cast<double>(c.length) - static_cast<double>(c.queries) / 2;
  const double flops = 4.0 * static_cast<double>(c.heads * c.d * c.queries) * seen;
  add_lazy(name_of_case("after_cache", dtype, c.length), behind_cache(c, dtype),
           {.flops = flops, .bytes = 0});
}

void add_decode(const Cached& c, DType dtype) {
  const std::int64_t elements = 2 * c.length * c.kv_heads * c.d;
  add_lazy("decode/" + std::string(name_of(dtype)) + "/" + std::to_string(c.length) + "/heads:" +
               std::to_string(c.heads) + "/kv:" + std::to_string(c.kv_heads) + "/d:" + std::to_string(c.d),
           behind_cache(c, dtype),
           {.flops = 0, .bytes = static_cast<double>(elements) * static_cast<double>(size_of(dtype))});
}

/// Gradients of q, k and v alone: five products.
void causal_backward(benchmark::State& state, std::int64_t length, DType dtype, std::int64_t kv_heads) {
  const Tensor q = projected_heads(length, 14, dtype, 7);
  const Tensor k = projected_heads(length, kv_heads, dtype, 8);
  const Tensor v = projected_heads(length, kv_heads, dtype, 9);
  const Tensor out = attention(q, k, v, {.causal = true});
  const Tensor loss = sum(out * random_data(out.shape(), dtype));
  (void)out.eval();
  const auto step = [&] { eval(grad(loss, {q, k, v})); };
  const PeakMemory memory;
  step();
  for (auto _ : state) step();
  state.counters["peak_bytes"] = memory.bytes();
  count_work(state, {.flops = causal_flops(length, 14, 5), .bytes = 0});
}

void add_backward(const std::string& name, std::int64_t length, DType dtype, std::int64_t kv_heads) {
  add_benchmark(name_of_case(name, dtype, length),
                [=](benchmark::State& state) { causal_backward(state, length, dtype, kv_heads); });
}

[[maybe_unused]] const bool registered = [] {
  for (DType dtype : {DType::f32, DType::bf16}) {
    for (std::int64_t length = 512; length <= 4096; length *= 2) add_causal(length, dtype);
    add_after_cache(dtype);
    for (std::int64_t length : {512, 2048}) add_backward("causal_backward", length, dtype, 14);
  }
  for (std::int64_t length : {512, 2048}) {
    add_backward("causal_backward_grouped", length, DType::bf16, 2);
    add_heads_to_rows(length);
  }
  add_decode({1, 256, 8, 4, 8}, DType::f32);
  add_decode({1, 4096, 14, 2, 64}, DType::f32);
  add_decode({1, 4096, 14, 2, 64}, DType::bf16);
  add_decode({1, 16384, 32, 8, 128}, DType::bf16);
  return true;
}();

}  // namespace
}  // namespace wick::bench
