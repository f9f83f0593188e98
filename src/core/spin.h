#pragma once

#include <chrono>
#include <thread>

namespace wick {

/// Whether this process may use a second core: on a single one, waiting awake only keeps others from working.
bool several_cores() noexcept;

/// Tells the processor that this is a waiting loop.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// What stands between the polls of a wait: awake at first, with short sleeps once it lasts milliseconds.
class Patience {
 public:
  static constexpr unsigned polls = 64;  ///< between looks at the clock

  void pause() {
    relax();
    if (++paused_ % polls == 0 && std::chrono::steady_clock::now() > awake_until_)
      std::this_thread::sleep_for(std::chrono::microseconds(20));
  }

 private:
  unsigned paused_ = 0;
  const std::chrono::steady_clock::time_point awake_until_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
};

/// Waits awake for at most about 30 us, less than it takes to put a thread to sleep and wake it again.
/// Returns whether `reached()` became true.
template <typename F>
bool spin_until(const F& reached) {
  if (reached()) return true;
  if (!several_cores()) return false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(30);
  do {
    for (int i = 0; i < 32; ++i) {
      if (reached()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return reached();
}

}  // namespace wick
