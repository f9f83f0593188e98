#include "wick/eval.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "backend/backend.h"
#include "backend/threads.h"
#include "core/trace.h"
#include "graph/record.h"
#include "ops/copy.h"
#include "runtime/arena_pool.h"
#include "runtime/evaluation.h"
#include "runtime/plan_cache.h"
#include "runtime/plan_work.h"
#include "wick/error.h"
#include "wick/stream.h"

namespace wick {
namespace {

/// Calls f with the outputs of each device; those of the host come first.
template <typename F>
void for_each_device(std::vector<Tensor> outputs, const F& f) {
  while (!outputs.empty()) {
    const auto host =
        std::find_if(outputs.begin(), outputs.end(), [](const Tensor& t) { return t.device() == cpu; });
    const Device device = host == outputs.end() ? outputs.front().device() : cpu;
    const auto others = std::stable_partition(outputs.begin(), outputs.end(),
                                              [&](const Tensor& t) { return t.device() == device; });
    const std::vector<Tensor> rest(others, outputs.end());
    outputs.erase(others, outputs.end());
    f(outputs);
    outputs = rest;
  }
}

bool on_one_device(std::span<const Tensor> outputs) {
  return std::all_of(outputs.begin(), outputs.end(),
                     [&](const Tensor& t) { return t.device() == outputs[0].device(); });
}

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

/// A completion that is done, with the error of the first output that has one.
std::shared_ptr<Completion> over(std::span<const Tensor> outputs) {
  auto completion = std::make_shared<Completion>();
  std::exception_ptr error;
  for (const Tensor& t : outputs)
    if (const auto& done = t.node()->value()->completion; done && !error) error = done->error();
  completion->finish(error);
  return completion;
}

void eval_here(std::span<const Tensor> open, History history) {
  if (open.empty()) return;
  const trace::Span span("eval", "eval");
  BoundEvaluation evaluation(open, history);
  evaluation.bound().allocate();
  evaluation.bound().start();
  evaluation.bound().finish();
  evaluation.publish(nullptr);
  evaluation.forget_history();
}

/// What somebody reads before it was evaluated stops the thread here: profiles show these places.
void evaluate_for_reading(const Tensor& tensor) {
  const Node& node = *tensor.node();
  const Value* value = node.value();
  if (value && value->ready()) {
    tensor.eval();  // throws the error that it may have ended with
    return;
  }
  const trace::Span span("read", value ? "a read waits for its tensor" : "a read evaluates its tensor",
                         node.where());
  tensor.eval();
}

struct EvaluationWork final : PlanWork {
  explicit EvaluationWork(std::vector<std::shared_ptr<Completion>> earlier) : awaited(std::move(earlier)) {}
  bool can_start_behind(Work& running) override {
    return awaited.empty() && PlanWork::can_start_behind(running);
  }
  void start(Work* running) override {
    for (const auto& completion : awaited) completion->wait();
    PlanWork::start(running);
  }
  void finish() override {
    PlanWork::finish();
    if (evaluation) evaluation->forget_history();
  }

  std::vector<std::shared_ptr<Completion>> awaited;
  std::optional<BoundEvaluation> evaluation;

 private:
  BoundPlan* bound() override { return evaluation ? &evaluation->bound() : nullptr; }
};

}  // namespace

void eval(std::span<const Tensor> outputs, History history) {
  const std::vector<Tensor> open = without_value(outputs);
  if (on_one_device(open))
    eval_here(open, history);
  else
    for_each_device(open, [&](const std::vector<Tensor>& part) { eval_here(part, history); });
  wait_for(outputs);
}

void eval(std::initializer_list<Tensor> outputs, History history) {
  eval(std::span<const Tensor>(outputs.begin(), outputs.size()), history);
}

Evaluation eval_async(std::span<const Tensor> outputs, const Stream& stream, History history) {
  const trace::Span span("eval", "eval_async: submit");
  const std::vector<Tensor> open = without_value(outputs);
  std::vector<std::shared_ptr<Completion>> pending;  // of outputs that are being computed already
  for (const Tensor& t : outputs) {
    const Value* value = t.node()->value();
    if (value && !value->ready() && (pending.empty() || pending.back() != value->completion))
      pending.push_back(value->completion);
  }
  if (open.empty() && pending.size() <= 1) return Evaluation(pending.empty() ? over(outputs) : pending[0]);

  if (!on_one_device(open)) {
    std::vector<Evaluation> parts;
    for_each_device({outputs.begin(), outputs.end()}, [&](const std::vector<Tensor>& part) {
      parts.push_back(eval_async(part, stream, history));
    });
    return when_all(parts);
  }

  StreamQueue& queue = stream.queue();
  queue.wait_for_room();
  auto completion = std::make_shared<Completion>(queue.shared_from_this());
  auto work = std::make_unique<EvaluationWork>(std::move(pending));
  std::size_t bytes = 0;
  if (!open.empty()) {
    const ThreadsScope threads(queue.threads());
    BoundPlan& plan = work->evaluation.emplace(open, history).bound();
    plan.allocate();
    bytes = plan.result_bytes();
  }
  EvaluationWork& bound = *work;
  queue.submit(std::move(work), completion, bytes, [&] {
    if (!bound.evaluation) return;
    bound.evaluation->publish(completion);
    bound.evaluation->release_outputs();
  });
  return Evaluation(std::move(completion));
}

Evaluation eval_async(std::initializer_list<Tensor> outputs, const Stream& stream, History history) {
  return eval_async(std::span<const Tensor>(outputs.begin(), outputs.size()), stream, history);
}

Evaluation eval_async(std::span<const Tensor> outputs, History history) {
  return eval_async(outputs, Stream::current(), history);
}

Evaluation eval_async(std::initializer_list<Tensor> outputs, History history) {
  return eval_async(std::span<const Tensor>(outputs.begin(), outputs.size()), Stream::current(), history);
}

Evaluation when_all(std::span<const Evaluation> evaluations) {
  struct Gathered {
    std::atomic<std::size_t> open;
    std::vector<std::shared_ptr<Completion>> parts;
  };
  auto all = std::make_shared<Completion>();
  auto gathered = std::make_shared<Gathered>();
  gathered->open = evaluations.size();
  for (const Evaluation& e : evaluations) gathered->parts.push_back(e.completion_);
  if (evaluations.empty()) all->finish(nullptr);
  for (const Evaluation& e : evaluations)
    e.completion_->on_done([all, gathered] {
      if (gathered->open.fetch_sub(1) > 1) return;
      std::exception_ptr error;
      for (const auto& part : gathered->parts)
        if (!error) error = part->error();
      gathered->parts.clear();
      all->finish(error);
    });
  return Evaluation(all);
}

bool Evaluation::ready() const { return completion_->done(); }
void Evaluation::wait() const { completion_->wait(); }

Evaluation Evaluation::then(std::function<void()> f) const {
  auto next = std::make_shared<Completion>();
  completion_->on_done([done = completion_, next, f = std::move(f)] {
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
  if (!node.value()) evaluate_for_reading(*this);
  return Tensor(Node::make_data(*node.value(), node.dtype(), node.device(), node.where()));
}

void Tensor::copy_bytes(std::span<std::byte> out) const {
  if (out.size() != bytes())
    throw ArgumentError("copy_bytes: the destination has another size than the tensor");
  evaluate_for_reading(*this);
  const Value& value = *node_->value();
  if (!value.layout.is_contiguous()) {
    record(copy_op(), {*this}, {}, {}).copy_bytes(out);
    return;
  }
  const std::byte* from =
      value.storage->data() + value.layout.offset * static_cast<std::int64_t>(size_of(node_->dtype()));
  backend_for(node_->device()).download(from, out.data(), out.size());
}

Tensor Tensor::to(Device device) const {
  if (checked().device() == device) return *this;
  std::vector<std::byte> bytes;
  const Backend& backend = backend_for(device);
  auto storage = backend.allocate(this->bytes());
  eval();
  const Value& value = *node_->value();
  const bool as_it_lies = node_->device() == cpu && value.layout.is_contiguous();
  const std::byte* from =
      as_it_lies
          ? value.storage->data() + value.layout.offset * static_cast<std::int64_t>(size_of(node_->dtype()))
          : nullptr;
  if (!as_it_lies) {
    bytes.resize(this->bytes());
    copy_bytes(bytes);
    from = bytes.data();
  }
  backend.upload(from, storage->data(), this->bytes());
  return Tensor(Node::make_data({std::move(storage), Layout::contiguous(shape()), nullptr}, dtype(), device,
                                node_->where()));
}

EagerScope::EagerScope() : previous_(record_hook() != nullptr) {
  record_hook() = [](const Tensor& recorded) { recorded.eval(); };
}
EagerScope::~EagerScope() {
  if (!previous_) record_hook() = nullptr;
}

PlanCacheStats plan_cache_stats() { return PlanCache::instance().stats(); }
std::uint64_t peak_bytes(Device device) { return backend_for(device).memory_use().peak; }
void reset_peak_bytes(Device device) { backend_for(device).reset_peak(); }
std::uint64_t kept_memory_bytes(Device device) { return backend_for(device).memory_use().kept; }
void release_kept_memory(Device device) {
  const Backend& backend = backend_for(device);
  PlanCache::instance().release_kept_memory(device);
  release_idle_arenas(backend);
  backend.release_kept_memory();
}

}  // namespace wick
