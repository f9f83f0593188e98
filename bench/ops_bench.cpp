// Single ops and short chains of them, beside what the hardware reaches: packed oneDNN products and a
// parallel memcpy, in the same run.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "floors.h"
#include "support.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

constexpr std::int64_t row_count = 1024;
constexpr std::int64_t gelu_elements = 1 << 24;

/// GELU's tanh form as a user would write it.
Tensor gelu_of_plain_ops(const Tensor& x) {
  return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

void add_row_op(const std::string& name, Tensor (*op)(const Tensor&)) {
  const auto prepare = [op] {
    const Tensor x = random_data({row_count, row_count});
    return [=] { return op(x); };
  };
  compare_modes(name + "/1024x1024", prepare, {.flops = 0, .bytes = 2.0 * 4 * row_count * row_count});
}

void add_matmul(std::int64_t n) {
  const std::string name = "matmul/n:" + std::to_string(n);
  const Work work{.flops = 2.0 * static_cast<double>(n * n * n), .bytes = 0};
  const auto prepare = [n] {
    const Tensor a = random_data({n, n});
    const Tensor b = random_data({n, n}, DType::f32, 8);
    return [=] { return matmul(a, b); };
  };
  compare_modes(name, prepare, work);
  add_benchmark(name + "/floor", [=](benchmark::State& state) {
    PackedMatmul product(n, n, n, DType::f32);
    product.run();
    for (auto _ : state) product.run();
    count_work(state, work);
  });
}

/// Copies from one block to another, again and again: what fits the cache stays there, as it does between
/// an op's evaluations.
void add_memcpy(const std::string& name, std::size_t bytes) {
  add_benchmark("memcpy/" + name + "/floor", [=](benchmark::State& state) {
    const std::vector<char> from(bytes, 1);
    std::vector<char> to(bytes);
    parallel_copy(to.data(), from.data(), bytes);
    for (auto _ : state) {
      parallel_copy(to.data(), from.data(), bytes);
      benchmark::ClobberMemory();
    }
    count_work(state, {.flops = 0, .bytes = 2.0 * static_cast<double>(bytes)});
  });
}

[[maybe_unused]] const bool registered = [] {
  compare_modes("add/n:1024", [] {
    const Tensor a = random_data({1024});
    const Tensor b = random_data({1024}, DType::f32, 8);
    return [=] { return a + b; };
  });
  for (std::int64_t n = 64; n <= 2048; n *= 2) add_matmul(n);

  add_row_op("softmax", [](const Tensor& x) { return softmax(x); });
  add_row_op("rms_norm", [](const Tensor& x) { return rms_norm(x, {}, 1e-6); });
  add_row_op("layer_norm", [](const Tensor& x) { return layer_norm(x, {}, {}, 1e-5); });
  add_memcpy("4MiB", std::size_t{4} * row_count * row_count);

  compare_modes("matmul_softmax_norm/n:512", [] {
    const Tensor a = random_data({512, 512});
    const Tensor b = random_data({512, 512}, DType::f32, 8);
    const Tensor c = random_data({512});
    return [=] { return rms_norm(softmax((matmul(a, b) + c) * 2.0), {}, 1e-6); };
  });

  const auto gelu = [] {
    const Tensor x = random_data({gelu_elements});
    return [=] { return gelu_of_plain_ops(x); };
  };
  compare_modes("gelu_plain/16M", gelu, {.flops = 0, .bytes = 2.0 * 4 * gelu_elements});
  add_memcpy("64MiB", std::size_t{4} * gelu_elements);
  return true;
}();

}  // namespace
}  // namespace wick::bench
