#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace wick {

class Completion;

/// Where the work behind a completion is queued.
class WorkSource {
 public:
  virtual ~WorkSource() = default;
  /// Runs queued work on the calling thread, in its order, until `target` is done or somebody else is at it.
  virtual void help(const Completion& target) = 0;
};

/// A one-shot event that ends well or with an error. Thread-safe.
class Completion {
 public:
  using Callback = std::function<void()>;

  Completion() = default;
  explicit Completion(std::shared_ptr<WorkSource> source) : source_(std::move(source)) {}

  bool done() const noexcept { return done_.load(std::memory_order_acquire) != 0; }
  /// Blocks until done; throws the error if there is one. Work that nobody has begun is done on this thread.
  void wait() const;
  /// The same, without throwing the work's error.
  void wait_until_done() const;
  /// Null when it ended well. Only meaningful once done.
  std::exception_ptr error() const noexcept { return error_; }
  /// Marks the end (once), and hands over what is to be called then.
  [[nodiscard]] std::vector<Callback> complete(std::exception_ptr error) noexcept;
  /// Marks the end (once) and runs the callbacks on this thread.
  void finish(std::exception_ptr error) noexcept;
  /// Runs `f` when done: later by whoever completes this, or now. `f` must not throw.
  void on_done(Callback f);

 private:
  const std::shared_ptr<WorkSource> source_;
  std::atomic<int> done_{0};
  std::mutex mutex_;  // guards callbacks_
  std::exception_ptr error_;
  std::vector<Callback> callbacks_;
};

}  // namespace wick
