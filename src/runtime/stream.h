#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace wick {

/// A worker thread that runs jobs in the order they came. Jobs must not throw. Ends after the jobs that are
/// there.
class Stream {
 public:
  Stream() = default;
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void submit(std::function<void()> job);

  /// The stream of `eval_async`.
  static Stream& main();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread worker_;  // started with the first job
};

}  // namespace wick
