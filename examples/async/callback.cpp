// Registers what is to happen with a result, and goes on.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "wick/eval.h"
#include "wick/ops.h"

int main() {
  std::atomic<int> seen{0};
  std::vector<wick::Evaluation> all;
  for (int i = 0; i < 4; ++i) {
    const auto x = wick::sum(wick::ones({10}) * i);
    // The callback runs on the worker thread; it keeps the tensor alive by copying the handle.
    all.push_back(wick::eval_async({x}).then([x, &seen] {
      std::printf("a sum: %.0f\n", static_cast<double>(x.item<float>()));
      seen += static_cast<int>(x.item<float>());
    }));
  }
  wick::when_all(all).wait();

  // What a callback throws travels with the Evaluation that `then` returned.
  bool caught = false;
  try {
    wick::eval_async({wick::zeros({1}) + 1}).then([] { throw std::runtime_error("no"); }).wait();
  } catch (const std::runtime_error&) {
    caught = true;
  }
  return seen == 60 && caught ? 0 : 1;
}
