// Fits y = a x + b by gradient descent: what an installed Wick looks like from outside.
#include <cstdio>
#include <vector>

#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"
#include "wick/tensor.h"

int main() {
  const auto x = wick::Tensor::from(std::vector<float>{0, 1, 2, 3}, wick::Shape{4});
  const auto y = wick::Tensor::from(std::vector<float>{1, 3, 5, 7}, wick::Shape{4});
  auto a = wick::Tensor::scalar(0.0F);
  auto b = wick::Tensor::scalar(0.0F);

  for (int step = 0; step < 200; ++step) {
    const auto loss = wick::mean(wick::square(a * x + b - y));
    const auto gradients = wick::grad(loss, {a, b});
    a = a - 0.1 * gradients[0];
    b = b - 0.1 * gradients[1];
    wick::eval({a, b});
  }
  std::printf("y = %.3f x + %.3f\n", static_cast<double>(a.item<float>()),
              static_cast<double>(b.item<float>()));
  return a.item<float>() > 1.99F && b.item<float>() > 0.99F ? 0 : 1;
}
