// What is evaluated together is optimised and planned together, and shares what it has in common.
#include <utility>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

int main() {
  using namespace wick;
  const Tensor x = random_normal(random_key(1), {32, 8});
  const Tensor y = sum(x, {1}, true);
  Tensor w = zeros({8, 1});

  float first = 0;
  float last = 0;
  for (int step = 0; step < 100; ++step) {
    const Tensor loss = mean(square(matmul(x, w) - y));
    const Tensor gradient = grad(loss, {w})[0];
    w = w - 0.1 * gradient;
    eval({loss, w});  // forward, backward and update: one plan
    last = loss.item<float>();
    if (step == 0) first = last;
  }
  check(last < 0.01F * first, "the loss falls");
}
