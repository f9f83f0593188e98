#include "runtime/stream_queue.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/spin.h"
#include "core/trace.h"
#include "wick/error.h"

namespace wick {
namespace {

/// Every worker thread, so that the end of the process can wait for them. Never destroyed: threads may end
/// after static objects.
class Workers {
 public:
  static Workers& instance() {
    static Workers& workers = *new Workers;
    return workers;
  }

  template <typename F>
  void start(const std::shared_ptr<StreamQueue>& queue, F body) {
    std::vector<Worker> over;  // joined outside the lock
    {
      std::lock_guard lock(mutex_);
      for (std::size_t i = workers_.size(); i-- > 0;) {
        if (!workers_[i].over->load()) continue;
        over.push_back(std::move(workers_[i]));
        workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
      }
      auto flag = std::make_shared<std::atomic<bool>>(false);
      workers_.push_back({std::thread([body = std::move(body), flag] {
                            body();
                            *flag = true;
                          }),
                          queue, flag});
    }
    for (Worker& worker : over) worker.thread.join();
  }

 private:
  struct Worker {
    std::thread thread;
    std::weak_ptr<StreamQueue> queue;
    std::shared_ptr<std::atomic<bool>> over;
  };

  Workers() {
    std::atexit([] { instance().end(); });
  }
  void end() {
    std::vector<Worker> workers;
    {
      std::lock_guard lock(mutex_);
      workers.swap(workers_);
    }
    for (Worker& worker : workers)
      if (const auto queue = worker.queue.lock()) queue->end();
    for (Worker& worker : workers) {
      // A callback may be what ends the process.
      if (worker.thread.get_id() == std::this_thread::get_id())
        worker.thread.detach();
      else
        worker.thread.join();
    }
  }

  std::mutex mutex_;
  std::vector<Worker> workers_;
};

}  // namespace

StreamQueue::StreamQueue(const StreamOptions& options)
    : options_(options), number_([] {
        static std::atomic<std::int32_t> made{0};
        return ++made;
      }()) {}

bool StreamQueue::has_room() const {
  return jobs_.size() < options_.max_queued &&
         (jobs_.size() < 2 || queued_bytes_ < options_.max_queued_bytes);
}

void StreamQueue::wait_for_room() {
  std::unique_lock lock(mutex_);
  if (has_room()) return;
  while (!has_room()) {
    if (!running_) {
      run_front(lock);
      continue;
    }
    const std::shared_ptr<Completion> running = running_;
    lock.unlock();
    running->wait_until_done();
    lock.lock();
  }
  lock.unlock();
  wake();
}

void StreamQueue::help(const Completion& target) {
  bool left;
  {
    std::unique_lock lock(mutex_);
    if (running_) return;
    while (!target.done() && !running_ && !jobs_.empty()) run_front(lock);
    left = !jobs_.empty() || !callbacks_.empty() || closed_;
  }
  if (left) wake();
}

/// Executes the first job. `lock` is released meanwhile.
void StreamQueue::run_front(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<StreamQueue> alive = shared_from_this();
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  queued_bytes_ -= job.bytes;
  running_ = job.completion;
  lock.unlock();
  std::exception_ptr error;
  try {
    const trace::StreamScope stream(number_);
    job.work->run();
  } catch (...) {
    error = std::current_exception();
  }
  job.work.reset();
  std::vector<Completion::Callback> callbacks = job.completion->complete(std::move(error));
  lock.lock();
  running_.reset();
  if (last_ == job.completion) last_.reset();
  for (Completion::Callback& f : callbacks) callbacks_.push_back(std::move(f));
}

void StreamQueue::synchronize() {
  std::shared_ptr<Completion> last;
  {
    std::lock_guard lock(mutex_);
    last = last_;
  }
  if (last) last->wait_until_done();
}

void StreamQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake();
}

void StreamQueue::end() {
  std::deque<Job> dropped;
  std::shared_ptr<Completion> running;
  {
    std::lock_guard lock(mutex_);
    closed_ = ended_ = true;
    dropped.swap(jobs_);
    queued_bytes_ = 0;
    running = running_;
  }
  if (running) running->wait_until_done();
  const auto error = std::make_exception_ptr(Error("the process ended before this evaluation began"));
  for (Job& job : dropped) {
    job.work.reset();
    std::vector<Completion::Callback> callbacks = job.completion->complete(error);
    std::lock_guard lock(mutex_);
    for (Completion::Callback& f : callbacks) callbacks_.push_back(std::move(f));
  }
  wake();
}

void StreamQueue::start_worker() {
  worker_started_ = true;
  Workers::instance().start(shared_from_this(), [queue = shared_from_this()] { queue->work(); });
}

void StreamQueue::wake() {
  signal_.fetch_add(1);
  signal_.notify_one();
}

void StreamQueue::work() {
  for (;;) {
    const int seen = signal_.load();
    {
      std::unique_lock lock(mutex_);
      while (!callbacks_.empty() || (!jobs_.empty() && !running_)) {
        if (callbacks_.empty()) {
          run_front(lock);
          continue;
        }
        const Completion::Callback f = std::move(callbacks_.front());
        callbacks_.pop_front();
        lock.unlock();
        f();
        lock.lock();
      }
      if (closed_ && jobs_.empty() && !running_) return;
    }
    // Bounded, so that an idle stream costs nothing.
    if (!spin_until([&] { return signal_.load() != seen; })) signal_.wait(seen);
  }
}

}  // namespace wick
