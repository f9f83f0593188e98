// A function recorded once: what it reads besides its inputs stays as it was then.
#include "wick/compiled.h"

#include <cstdint>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/ops.h"

int main() {
  using namespace wick;
  using Tensors = std::vector<Tensor>;

  int recorded = 0;
  double rate = 0.5;
  const Compiled step([&](const Tensors& in) -> Tensors {
    ++recorded;
    return {in[0] - rate * in[1]};
  });
  const auto of_ones = [](std::int64_t count) {
    return Tensor::from(std::vector<float>(static_cast<std::size_t>(count), 1), Shape{count});
  };
  Tensor w = of_ones(4);
  for (int i = 0; i < 10; ++i) w = step({w, of_ones(4)})[0];
  check(recorded == 1, "ten steps, recorded once");
  check(w.to_vector<float>()[0] == -4, "ten times 0.5 less");

  rate = 100;  // too late
  check(step({w, of_ones(4)})[0].to_vector<float>()[0] == -4.5F,
        "a number is what it was when it was recorded");

  (void)step({of_ones(8), of_ones(8)});
  check(recorded == 2 && step.forms() == 2, "another shape is another form");
}
