#include <gtest/gtest.h>

#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

// Sanitizers multiply time and memory; recursion would overflow the stack at this depth too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WICK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WICK_SANITIZED 1
#endif
#endif
#ifdef WICK_SANITIZED
constexpr int depth = 100'000;
#else
constexpr int depth = 1'000'000;
#endif

TEST(DeepGraph, AChainOfAMillionOpsRecordsEvaluatesAndFrees) {
  Tensor x = Tensor::scalar(0.0);
  for (int i = 0; i < depth; ++i) x = x + 1;
  EXPECT_EQ(x.item<double>(), depth);
}

TEST(DeepGraph, AChainOfAMillionOpsIsFreedUnevaluated) {
  Tensor x = Tensor::scalar(0.0);
  for (int i = 0; i < depth; ++i) x = x + 1;
  x = Tensor();
  SUCCEED();
}

TEST(DeepGraph, TheGradientOfALongChainIsExact) {
  const int length = depth / 4;
  const Tensor w = Tensor::scalar(2.0);
  Tensor x = w;
  for (int i = 0; i < length; ++i) x = x + w;
  const Tensor g = grad(x, std::vector<Tensor>{w})[0];
  EXPECT_EQ(g.item<double>(), length + 1);
}

TEST(DeepGraph, AStateLoopKeepsNoHistory) {
  // Each step's inputs can be reached by nobody after the step, so memory stays where it was.
  Tensor x = Tensor::from(std::vector<float>(1024, 1.0f), {1024});
  x.eval();
  reset_peak_bytes();
  const std::uint64_t before = peak_bytes();
  for (int i = 0; i < 1000; ++i) {
    x = x * 0.999;
    x.eval();
  }
  EXPECT_LT(peak_bytes(), before + 64 * 1024);
}

}  // namespace
}  // namespace wick
