#include "core/spin.h"

#ifdef __linux__
#include <sched.h>
#else
#include <thread>
#endif

namespace wick {
namespace {

bool count_cores() noexcept {
#ifdef __linux__
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed) > 1;
  return true;
#else
  return std::thread::hardware_concurrency() > 1;
#endif
}

}  // namespace

bool several_cores() noexcept {
  static const bool several = count_cores();
  return several;
}

}  // namespace wick
