// Ops are recorded; nothing is computed until somebody asks for data.
#include <vector>

#include "check.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/ops.h"

int main() {
  using namespace wick;
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3}, Shape{3});
  const Tensor b = exp(a) * 2.0;
  check(!b.is_evaluated(), "recording computes nothing");
  check(b.shape() == Shape{3} && b.dtype() == DType::f32, "shape and dtype are known at once");

  eval({b});
  check(b.is_evaluated(), "eval computes");

  const Tensor c = b + 1.0;
  const std::vector<float> values = c.to_vector<float>();  // reading evaluates
  check(c.is_evaluated() && values.size() == 3, "reading data evaluates");

  bool refused = false;
  try {
    (void)matmul(zeros({2, 3}), zeros({4, 5}));
  } catch (const ShapeError&) {  // at the line that recorded it, not at eval
    refused = true;
  }
  check(refused, "shapes are checked while recording");
}
