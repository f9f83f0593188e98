#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace wick {

/// Calls f(begin, end) on consecutive parts of [0, count), at most one a thread, each of at least `grain`
/// items. The parts depend on `count`, `grain` and the number of threads only. `f` must not throw.
template <typename F>
void parallel_for(std::int64_t count, std::int64_t grain, const F& f) {
  const std::int64_t most = std::max<std::int64_t>(1, count / std::max<std::int64_t>(grain, 1));
  const int parts = static_cast<int>(std::min<std::int64_t>(most, omp_get_max_threads()));
  if (parts <= 1) {
    if (count > 0) f(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int p = 0; p < parts; ++p) f(count * p / parts, count * (p + 1) / parts);
}

/// Fewer threads for the parallel regions of the calling thread, while this lives.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(omp_get_max_threads()) {
    if (threads < before_) omp_set_num_threads(threads);
  }
  ~ThreadLimit() { omp_set_num_threads(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int before_;
};

}  // namespace wick
