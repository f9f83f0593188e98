// Memory is planned before anything runs, and can be limited.
#include "wick/memory.h"

#include "check.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

int main() {
  using namespace wick;
  const Tensor x = random_normal(random_key(1), {256, 256}).eval();
  const Tensor y = matmul(softmax(matmul(x, x)), x);

  const PlannedMemory planned = plan_memory({y});
  check(planned.result_bytes >= y.bytes(), "the result is part of the plan");
  check(!y.is_evaluated(), "planning runs nothing");

  set_memory_limit(planned.peak_bytes() / 2);
  bool refused = false;
  try {
    eval({y});
  } catch (const MemoryError&) {
    refused = true;
  }
  check(refused && !y.is_evaluated(), "refused before it runs");

  set_memory_limit({});
  eval({y});
  check(y.is_evaluated(), "without the limit it runs");

  const std::vector<Tensor> layers(12, random_normal(random_key(2), {256, 256}).eval());
  const auto planned_gradient = [&](bool checkpoints) {
    const auto layer = [](const Tensor& in, const Tensor& w) { return in + tanh(matmul(in, w)); };
    Tensor h = x;
    for (const Tensor& w : layers)
      h = checkpoints ? checkpoint([&](auto in) { return layer(in[0], w); }, {h}) : layer(h, w);
    return plan_memory(grad(sum(h), {x})).peak_bytes();
  };
  check(planned_gradient(true) < planned_gradient(false), "a checkpoint keeps less for the backward");

  release_kept_memory();
  check(kept_memory_bytes() == 0, "kept memory goes back to the system");
}
