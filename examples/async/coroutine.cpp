// Awaits evaluations in a coroutine: the code reads from top to bottom, and no thread is blocked meanwhile.
#include <coroutine>
#include <cstdio>
#include <exception>
#include <future>

#include "wick/eval.h"
#include "wick/ops.h"

namespace {

/// The least that a coroutine which returns a float needs.
struct Task {
  struct promise_type {
    std::promise<float> result;
    Task get_return_object() { return {result.get_future()}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_value(float value) { result.set_value(value); }
    void unhandled_exception() { result.set_exception(std::current_exception()); }
  };
  std::future<float> result;
};

/// Newton's method for the square root of x, each step an evaluation of its own.
Task square_root(float x) {
  const auto target = wick::Tensor::scalar(x);
  auto guess = wick::Tensor::scalar(1.0F);
  for (int i = 0; i < 20; ++i) {
    guess = (guess + target / guess) * 0.5;
    const wick::Evaluation step = wick::eval_async({guess}, wick::History::drop);
    co_await step;  // the rest runs on the worker thread
  }
  co_return guess.item<float>();
}

}  // namespace

int main() {
  Task two = square_root(2);
  Task nine = square_root(9);
  const float a = two.result.get();
  const float b = nine.result.get();
  std::printf("%.4f %.4f\n", static_cast<double>(a), static_cast<double>(b));
  return a > 1.4142F && a < 1.4143F && b > 2.9999F && b < 3.0001F ? 0 : 1;
}
