// Plans are kept by structure. A C++ number is structure, Tensor::scalar is data.
#include <cstdint>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace {

using namespace wick;

std::uint64_t misses_of(Tensor (*step)(const Tensor&, double)) {
  const Tensor x = ones({16});
  const std::uint64_t before = plan_cache_stats().misses;
  for (int i = 0; i < 10; ++i) step(x, 1e-3 * (1 + i)).eval();
  return plan_cache_stats().misses - before;
}

/// The next of 16, 32, 64, ...
std::int64_t bucket(std::int64_t length) {
  std::int64_t size = 16;
  while (size < length) size *= 2;
  return size;
}

}  // namespace

int main() {
  // The rate is written into the graph: ten structures, ten plans.
  check(misses_of([](const Tensor& x, double rate) { return x - rate * x; }) == 10, "a number is structure");
  // The rate is an input: one plan.
  check(misses_of([](const Tensor& x, double rate) {
          return x - Tensor::scalar(static_cast<float>(rate)) * x;
        }) == 1,
        "a scalar tensor is data");

  // Varying lengths: pad to a few sizes, and mask what was added.
  const std::uint64_t before = plan_cache_stats().misses;
  for (std::int64_t length = 1; length <= 100; ++length) {
    const std::int64_t padded = bucket(length);
    std::vector<float> values(static_cast<std::size_t>(padded), 0.0F);
    std::vector<float> counted(static_cast<std::size_t>(padded), 0.0F);
    for (std::int64_t i = 0; i < length; ++i) {
      values[static_cast<std::size_t>(i)] = 2;
      counted[static_cast<std::size_t>(i)] = 1;
    }
    const Tensor x = Tensor::from(values, Shape{padded});
    const Tensor mask = Tensor::from(counted, Shape{padded});
    const Tensor mean_of_squares = sum(square(x) * mask) / sum(mask);
    check(mean_of_squares.item<float>() == 4, "padding does not count");
  }
  check(plan_cache_stats().misses - before <= 4, "16, 32, 64 and 128: four plans for a hundred lengths");
}
