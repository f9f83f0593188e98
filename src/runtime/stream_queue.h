#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "core/completion.h"
#include "wick/stream.h"

namespace wick {

/// What a queue executes: started, waited for and finished by one thread, then destroyed, before its
/// completion is marked.
class Work {
 public:
  virtual ~Work() = default;
  /// Whether it can be started while `running`, which was started and is not over, goes on.
  virtual bool can_start_behind(Work& running) = 0;
  /// Does the work, or starts what then goes on by itself; behind `running`, if that is not null.
  virtual void start(Work* running) = 0;
  /// Waits some microseconds; whether what was started is over.
  virtual bool wait_briefly() = 0;
  /// Waits for the end of what was started.
  virtual void finish() = 0;
};

/// The jobs of a stream, finished one at a time in their order: by the stream's worker thread, or by a thread
/// that waits for one of them before the worker came to it. While a device is at a job, the worker starts the
/// one behind it, where that waits for nothing else, so that the device goes from one to the next. Callbacks
/// run on the worker only, because a waiting thread may hold locks that they take.
///
/// Waits cannot form a circle. Values are published and their job queued under one lock, so on each stream
/// the order of publication is the order of the queue. A job waits only for values that were published before
/// its own, and for the jobs before it on its stream, which were published earlier too; every wait goes back
/// in time. The same holds while a thread runs jobs of another stream from within a job's wait; each stream
/// executes one job at a time, so such waits nest at most as deep as there are streams. Callbacks are run
/// with no job executing, so that they may wait for any evaluation.
class StreamQueue final : public WorkSource, public std::enable_shared_from_this<StreamQueue> {
 public:
  explicit StreamQueue(const StreamOptions& options);

  /// As StreamOptions::threads.
  int threads() const noexcept { return options_.threads; }
  /// Blocks, and helps, while the limits are exceeded.
  void wait_for_room();
  /// Queues `work`. `publish()` is called with the place in the queue taken: values that it publishes are
  /// seen by nobody whose job could come before this one.
  template <typename F>
  void submit(std::unique_ptr<Work> work, const std::shared_ptr<Completion>& completion, std::size_t bytes,
              const F& publish) {
    {
      std::lock_guard lock(mutex_);
      publish();
      jobs_.push_back({std::move(work), completion, bytes});
      queued_bytes_ += bytes;
      last_ = completion;
      if (!worker_started_ && !ended_) start_worker();
    }
    if (ended_)
      help(*completion);
    else
      wake();
  }
  void help(const Completion& target) override;
  void synchronize();
  /// No more jobs will come: the worker ends after those that are there.
  void close();
  /// The process ends: jobs that have not begun fail, the running one is waited for.
  void end();

 private:
  struct Job {
    std::unique_ptr<Work> work;
    std::shared_ptr<Completion> completion;
    std::size_t bytes = 0;
    std::exception_ptr error{};  // of its start

    void start(Work* running) noexcept;
    void finish() noexcept;
  };
  enum class Ahead : std::uint8_t { none, one };

  bool has_room() const;
  Job take_front();
  void run_front(std::unique_lock<std::mutex>& lock, Ahead ahead);
  void start_behind(const Job& running);
  void start_worker();
  void wake();
  void work();

  const StreamOptions options_;
  const std::int32_t number_;  // of this stream in profiles, from 1
  std::mutex mutex_;
  std::deque<Job> jobs_;
  std::deque<Completion::Callback> callbacks_;
  std::optional<Job> ahead_;  // started by the worker behind the running one
  std::size_t queued_bytes_ = 0;
  std::shared_ptr<Completion> running_;  // of the job that somebody executes
  std::shared_ptr<Completion> last_;     // of the newest job, until it is done
  bool worker_started_ = false;
  bool closed_ = false;
  std::atomic<bool> ended_{false};
  std::atomic<int> signal_{0};  // changes when there may be something for the worker
};

}  // namespace wick
