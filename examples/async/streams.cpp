// Two independent chains run at once, on a core each; a third evaluation uses the results of both.
#include <cstdio>

#include "wick/ops.h"
#include "wick/stream.h"

int main() {
  const wick::Stream left({.threads = 1});
  const wick::Stream right({.threads = 1});
  auto x = wick::ones({128, 128}) / 128;
  auto y = wick::ones({128, 128}) / 64;
  for (int i = 0; i < 10; ++i) {
    x = wick::matmul(x, x);
    y = wick::sqrt(y);
    wick::eval_async({x}, left, wick::History::drop);
    wick::eval_async({y}, right, wick::History::drop);
  }
  const auto both = wick::sum(x) + wick::mean(y);  // waits for both streams where it runs
  std::printf("%.3f\n", static_cast<double>(both.item<float>()));
  left.synchronize();
  right.synchronize();
  return both.item<float>() > 128.9F && both.item<float>() < 129.1F ? 0 : 1;
}
