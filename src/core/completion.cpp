#include "core/completion.h"

namespace wick {

void Completion::wait() const {
  if (!done()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done(); });
  }
  if (error_) std::rethrow_exception(error_);
}

void Completion::finish(std::exception_ptr error) noexcept {
  std::vector<std::function<void()>> callbacks;
  {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
    callbacks.swap(callbacks_);
    done_.store(true, std::memory_order_release);
    changed_.notify_all();
  }
  for (auto& f : callbacks) f();
}

void Completion::on_done(std::function<void()> f) {
  {
    std::lock_guard lock(mutex_);
    if (!done()) {
      callbacks_.push_back(std::move(f));
      return;
    }
  }
  f();
}

}  // namespace wick
