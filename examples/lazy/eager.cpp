// EagerScope: each op is evaluated as it is recorded. For debugging.
#include <cmath>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/ops.h"

int main() {
  using namespace wick;
  const Tensor x = Tensor::from(std::vector<float>{0, 1}, Shape{2});
  Tensor lazy;
  Tensor eager;
  lazy = log(x) + 1.0;
  {
    const EagerScope scope;
    const Tensor logarithm = log(x);
    check(logarithm.is_evaluated(), "the value is there: a debugger or a print can look at it");
    eager = logarithm + 1.0;
  }
  check(!lazy.is_evaluated() && eager.is_evaluated(), "the scope concerns what is recorded inside it");
  check(std::isinf(lazy.to_vector<float>()[0]) && lazy.to_vector<float>() == eager.to_vector<float>(),
        "both give the same result");
}
