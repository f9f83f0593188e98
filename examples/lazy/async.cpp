// eval_async returns at once; the outcome can be waited for, continued, or awaited by a coroutine.
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <future>
#include <utility>
#include <vector>

#include "check.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace {

using namespace wick;

/// The smallest coroutine type: starts at once, ends by itself.
struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Task sum_of_squares(Tensor x, std::promise<float> result) {
  const Tensor total = sum(square(x));
  co_await total.eval_async();
  result.set_value(total.item<float>());
}

}  // namespace

int main() {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, Shape{3});

  const Tensor y = x * 2.0;
  const Evaluation running = eval_async({y});
  const Tensor z = y + 1.0;  // may use y before it is there
  running.wait();
  check(y.is_evaluated(), "wait ends when the data is there");
  check(z.to_vector<float>() == std::vector<float>{3, 5, 7}, "z follows y");

  std::atomic<int> called = 0;
  eval_async({x - 1.0}).then([&] { ++called; }).wait();
  check(called == 1, "then runs the callback, and its result completes after it");

  std::promise<float> promised;
  std::future<float> result = promised.get_future();
  sum_of_squares(x, std::move(promised));
  check(result.get() == 14, "a coroutine continues with the data");

  // An error stays with the tensors it concerns, also when the handle is dropped.
  const Tensor bad = take(x, Tensor::from(std::vector<std::int32_t>{7}, Shape{1}));
  (void)eval_async({bad});
  bool thrown = false;
  try {
    (void)bad.to_vector<float>();
  } catch (const ArgumentError&) {
    thrown = true;
  }
  check(thrown, "reading a value whose evaluation failed throws its error");
}
