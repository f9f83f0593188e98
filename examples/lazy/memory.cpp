// Memory is planned before anything runs, and can be limited.
#include "wick/memory.h"

#include "check.h"
#include "wick/error.h"
#include "wick/eval.h"
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

  release_kept_memory();
  check(kept_memory_bytes() == 0, "kept memory goes back to the system");
}
