#include "core/completion.h"

#include "core/spin.h"
#include "core/trace.h"

namespace wick {

void Completion::wait_until_done() const {
  if (done()) return;
  const trace::Span span("wait", "wait for an evaluation");
  if (source_) source_->help(*this);
  if (spin_until([this] { return done(); })) return;
  while (!done()) done_.wait(0, std::memory_order_acquire);
}

void Completion::wait() const {
  wait_until_done();
  if (error_) std::rethrow_exception(error_);
}

std::vector<Completion::Callback> Completion::complete(std::exception_ptr error) noexcept {
  std::vector<Callback> callbacks;
  {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
    callbacks.swap(callbacks_);
    done_.store(1, std::memory_order_release);
  }
  done_.notify_all();
  return callbacks;
}

void Completion::finish(std::exception_ptr error) noexcept {
  for (Callback& f : complete(std::move(error))) f();
}

void Completion::on_done(Callback f) {
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
