#include "wick/eval.h"

#include <cstring>

#include "core/allocate.h"
#include "graph/record.h"
#include "ops/copy.h"
#include "runtime/evaluation.h"
#include "runtime/plan_cache.h"
#include "runtime/stream.h"
#include "wick/error.h"

namespace wick {
namespace {

std::vector<Tensor> without_value(std::span<const Tensor> outputs) {
  std::vector<Tensor> open;
  for (const Tensor& t : outputs) {
    if (!t.defined()) throw ArgumentError("eval: an empty tensor was given");
    if (!t.node()->value()) open.push_back(t);
  }
  return open;
}

void wait_for(std::span<const Tensor> outputs) {
  for (const Tensor& t : outputs) {
    const Value* value = t.node()->value();
    if (value && value->completion) value->completion->wait();
  }
}

std::shared_ptr<Completion> finished() {
  auto completion = std::make_shared<Completion>();
  completion->finish(nullptr);
  return completion;
}

}  // namespace

void eval(std::span<const Tensor> outputs, History history) {
  const std::vector<Tensor> open = without_value(outputs);
  if (!open.empty()) {
    BoundEvaluation evaluation(open, history);
    evaluation.allocate();
    evaluation.execute();
    evaluation.publish(nullptr);
    evaluation.forget_history();
  }
  wait_for(outputs);
}

void eval(std::initializer_list<Tensor> outputs, History history) {
  eval(std::span<const Tensor>(outputs.begin(), outputs.size()), history);
}

Evaluation eval_async(std::span<const Tensor> outputs, History history) {
  const std::vector<Tensor> open = without_value(outputs);
  // Outputs that are being computed already: their jobs are earlier in the stream.
  std::vector<Tensor> pending;
  for (const Tensor& t : outputs)
    if (const Value* value = t.node()->value(); value && !value->ready()) pending.push_back(t);
  if (open.empty() && pending.empty()) return Evaluation(finished());

  auto completion = std::make_shared<Completion>();
  std::shared_ptr<BoundEvaluation> evaluation;
  if (!open.empty()) {
    evaluation = std::make_shared<BoundEvaluation>(open, history);
    evaluation->allocate();
    evaluation->publish(completion);
  }
  Stream::main().submit([evaluation, pending = std::move(pending), completion]() mutable {
    std::exception_ptr error;
    try {
      wait_for(pending);
      if (evaluation) {
        evaluation->execute();
        evaluation->forget_history();
      }
    } catch (...) {
      error = std::current_exception();
    }
    evaluation.reset();
    pending.clear();
    completion->finish(error);
  });
  return Evaluation(completion);
}

Evaluation eval_async(std::initializer_list<Tensor> outputs, History history) {
  return eval_async(std::span<const Tensor>(outputs.begin(), outputs.size()), history);
}

bool Evaluation::ready() const { return completion_->done(); }
void Evaluation::wait() const { completion_->wait(); }

Evaluation Evaluation::then(std::function<void()> f) const {
  auto next = std::make_shared<Completion>();
  completion_->on_done([done = completion_.get(), next, f = std::move(f)] {
    std::exception_ptr error = done->error();
    if (!error) {
      try {
        f();
      } catch (...) {
        error = std::current_exception();
      }
    }
    next->finish(error);
  });
  return Evaluation(next);
}

void Evaluation::await_suspend(std::coroutine_handle<> waiting) const {
  completion_->on_done([waiting] { waiting.resume(); });
}

const Tensor& Tensor::eval() const {
  wick::eval(std::span<const Tensor>(this, 1));
  return *this;
}

Evaluation Tensor::eval_async() const { return wick::eval_async(std::span<const Tensor>(this, 1)); }

Tensor Tensor::detach() const {
  Node& node = checked();
  if (!node.value()) eval();
  return Tensor(Node::make_data(*node.value(), node.dtype(), node.device(), node.where()));
}

void Tensor::copy_bytes(std::span<std::byte> out) const {
  if (out.size() != bytes())
    throw ArgumentError("copy_bytes: the destination has another size than the tensor");
  eval();
  const Value& value = *node_->value();
  if (!value.layout.is_contiguous()) {
    record(copy_op(), {*this}, {}, {}).copy_bytes(out);
    return;
  }
  const std::byte* from =
      value.storage->data() + value.layout.offset * static_cast<std::int64_t>(size_of(node_->dtype()));
  if (!out.empty()) std::memcpy(out.data(), from, out.size());
}

EagerScope::EagerScope() : previous_(record_hook() != nullptr) {
  record_hook() = [](const Tensor& recorded) { recorded.eval(); };
}
EagerScope::~EagerScope() {
  if (!previous_) record_hook() = nullptr;
}

PlanCacheStats plan_cache_stats() { return PlanCache::instance().stats(); }
std::uint64_t peak_bytes() { return peak_held_bytes(); }
void reset_peak_bytes() { reset_peak_held_bytes(); }
std::uint64_t kept_memory_bytes() { return kept_bytes(); }
void release_kept_memory() { release_kept_bytes(); }

}  // namespace wick
