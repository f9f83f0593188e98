#pragma once

#include <chrono>

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
