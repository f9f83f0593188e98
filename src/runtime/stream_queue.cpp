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
      run_front(lock, Ahead::none);
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
    while (!target.done() && !running_ && !jobs_.empty()) run_front(lock, Ahead::none);
    left = !jobs_.empty() || !callbacks_.empty() || closed_;
  }
  if (left) wake();
}

void StreamQueue::Job::start(Work* running) noexcept {
  try {
    work->start(running);
  } catch (...) {
    error = std::current_exception();
  }
}

void StreamQueue::Job::finish() noexcept {
  try {
    if (!error) work->finish();
  } catch (...) {
    error = std::current_exception();
  }
  work.reset();
}

StreamQueue::Job StreamQueue::take_front() {
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  queued_bytes_ -= job.bytes;
  return job;
}

/// Executes the first job; with `Ahead::one`, starts the next one meanwhile, which the thread must come back
/// for. `lock` is released meanwhile.
void StreamQueue::run_front(std::unique_lock<std::mutex>& lock, Ahead ahead) {
  const std::shared_ptr<StreamQueue> alive = shared_from_this();
  const trace::StreamScope stream(number_);
  const bool started = ahead_.has_value();
  Job job = started ? std::move(*ahead_) : take_front();
  ahead_.reset();
  running_ = job.completion;
  lock.unlock();
  if (!started) job.start(nullptr);
  while (!job.error && !job.work->wait_briefly())
    if (ahead == Ahead::one) start_behind(job);
  job.finish();
  std::vector<Completion::Callback> callbacks = job.completion->complete(std::move(job.error));
  lock.lock();
  running_ = ahead_ ? ahead_->completion : nullptr;
  if (last_ == job.completion) last_.reset();
  for (Completion::Callback& f : callbacks) callbacks_.push_back(std::move(f));
}

/// Callbacks must find no job executing, so while some wait nothing new is started.
void StreamQueue::start_behind(const Job& running) {
  std::unique_lock lock(mutex_);
  if (ahead_ || !callbacks_.empty() || jobs_.empty() || !jobs_.front().work->can_start_behind(*running.work))
    return;
  Job next = take_front();
  lock.unlock();
  next.start(running.work.get());
  lock.lock();
  ahead_ = std::move(next);
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
      while (!callbacks_.empty() || ahead_ || (!jobs_.empty() && !running_)) {
        if (callbacks_.empty() || ahead_) {
          run_front(lock, Ahead::one);
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
