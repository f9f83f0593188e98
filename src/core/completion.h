#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

namespace wick {

/// A one-shot event that ends well or with an error. Thread-safe.
class Completion {
 public:
  bool done() const noexcept { return done_.load(std::memory_order_acquire); }
  /// Blocks until done; throws the error if there is one.
  void wait() const;
  /// Null when it ended well. Only meaningful once done.
  std::exception_ptr error() const noexcept { return error_; }
  /// Marks the end (once) and runs the callbacks on this thread.
  void finish(std::exception_ptr error) noexcept;
  /// Runs `f` when done: later on the finishing thread, or now. `f` must not throw.
  void on_done(std::function<void()> f);

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::atomic<bool> done_{false};
  std::exception_ptr error_;
  std::vector<std::function<void()>> callbacks_;
};

}  // namespace wick
