// History::drop: for loops that carry state. Outputs become data, and take the memory of inputs that die.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "check.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace {

using namespace wick;

constexpr std::int64_t elements = 1 << 20;
constexpr std::uint64_t bytes = elements * sizeof(float);

/// Most memory that ten updates of a state of 4 MiB took.
std::uint64_t peak_of(History history, bool keep_the_old_state) {
  Tensor state = zeros({elements});
  state.eval();
  reset_peak_bytes();
  Tensor old;
  for (int step = 0; step < 10; ++step) {
    if (keep_the_old_state) old = state;
    state = state * 0.9 + 1.0;
    eval({state}, history);
  }
  return peak_bytes();
}

}  // namespace

int main() {
  const std::uint64_t donated = peak_of(History::drop, false);
  const std::uint64_t held = peak_of(History::drop, true);
  check(held > donated + bytes / 2, "a second handle to the old state keeps its memory from being reused");

  // The fix for a loop that never needs gradients through earlier steps, without History::drop.
  Tensor total = zeros({});
  for (int step = 0; step < 1000; ++step) {
    total = total + 1.0;
    if (step % 100 == 99) total = total.detach();  // evaluates, and lets go of what led to it
  }
  check(total.item<float>() == 1000, "detach keeps the value");
}
