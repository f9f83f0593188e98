// What the machine can do at most: the floors of whole-model cases are computed from these.
#include <benchmark/benchmark.h>

#include <vector>

#include "floors.h"
#include "support.h"

namespace wick::bench {
namespace {

void matmul_peak(benchmark::State& state, DType dtype) {
  constexpr std::int64_t n = 2048;
  PackedMatmul product(n, n, n, dtype);
  product.run();
  for (auto _ : state) product.run();
  count_work(state, {.flops = 2.0 * n * n * n, .bytes = 0});
}

void read_peak(benchmark::State& state) {
  static const std::vector<char> block(std::size_t{1} << 29, 1);
  benchmark::DoNotOptimize(parallel_read(block.data(), block.size()));
  for (auto _ : state) benchmark::DoNotOptimize(parallel_read(block.data(), block.size()));
  count_work(state, {.flops = 0, .bytes = static_cast<double>(block.size())});
}

[[maybe_unused]] const bool registered = [] {
  for (DType dtype : {DType::f32, DType::bf16})
    add_benchmark("peak_matmul/" + std::string(name_of(dtype)) + "/floor",
                  [=](benchmark::State& state) { matmul_peak(state, dtype); });
  add_benchmark("peak_read/512MiB/floor", read_peak);
  return true;
}();

}  // namespace
}  // namespace wick::bench
