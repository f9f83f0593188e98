#pragma once

namespace wick {

/// Makes the number of threads that `set_threads` chose hold on the calling thread too (OpenMP keeps it per
/// thread).
void use_configured_threads() noexcept;

/// While one lives, `threads()` is another number on this thread; 0 changes nothing.
class ThreadsScope {
 public:
  explicit ThreadsScope(int count) noexcept;
  ~ThreadsScope();
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  int previous_;
};

}  // namespace wick
