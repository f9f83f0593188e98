// The optimiser's passes can be listed, and left out.
#include <algorithm>

#include "check.h"
#include "wick/eval.h"
#include "wick/ops.h"
#include "wick/optimize.h"

int main() {
  using namespace wick;
  const auto passes = optimizer_passes();
  check(std::any_of(passes.begin(), passes.end(),
                    [](const PassInfo& pass) { return pass.name == "fuse-elementwise" && !pass.required; }),
        "elementwise fusion is a pass that can be left out");

  const Tensor x = random_normal(random_key(1), {1000});
  const Tensor fused = tanh(x * 2.0 + 1.0).eval();
  const DisablePassesScope without({"fuse-elementwise"});
  const Tensor unfused = tanh(x * 2.0 + 1.0).eval();
  check(max(abs(fused - unfused)).item<float>() < 1e-6F, "the result is the same within rounding");
}
