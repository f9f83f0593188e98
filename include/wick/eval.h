#pragma once

#include <coroutine>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>

#include "wick/tensor.h"

namespace wick {

class Completion;

/// The outcome of an `eval_async`: a value that can be copied, waited for, continued and dropped at will.
/// An error that happened stays with the tensors it concerns (reading them throws it), also when every handle
/// is dropped. Thread-safe.
class Evaluation {
 public:
  explicit Evaluation(std::shared_ptr<Completion> completion) : completion_(std::move(completion)) {}

  /// True when the work is over, well or badly. Never blocks.
  bool ready() const;
  /// Blocks until the work is over. Throws the error that it ended with. Where no worker has begun it yet,
  /// this thread does the work itself.
  void wait() const;
  /// Runs `f` once the work ended well: on the stream's worker thread, or here and now when that was already
  /// the case. The result completes after `f` returned, and carries what `f` threw, or this evaluation's
  /// error (then `f` is not called). `f` may record, submit, and wait for evaluations; it should not wait for
  /// other callbacks, which may be queued behind it. The same holds for what a coroutine does after
  /// `co_await`.
  Evaluation then(std::function<void()> f) const;

  bool await_ready() const { return ready(); }
  void await_suspend(std::coroutine_handle<> waiting) const;
  void await_resume() const { wait(); }

 private:
  friend Evaluation when_all(std::span<const Evaluation> evaluations);
  std::shared_ptr<Completion> completion_;
};

/// Completes when all have, with the error of the first one in the list that has one. Never blocks.
Evaluation when_all(std::span<const Evaluation> evaluations);

/// What an evaluation does with the history of its outputs (the ops that led to them).
enum class History {
  /// Keeps it as long as somebody could still ask for a gradient through it, that is, while a handle to any
  /// tensor in
  /// it exists.
  keep,
  /// Outputs become data, as by `detach`; the memory of inputs to which no other handle exists is reused for
  /// outputs.
  /// For loops that carry state: optimizer updates, caches.
  drop,
};

/// Computes every tensor of `outputs` that has no data yet, as one plan (one a
/// device, where there are several), started by the calling thread; returns when the data is there. Throws
/// MemoryError when the planned memory cannot be had, DeviceError when tensors of several devices meet.
void eval(std::span<const Tensor> outputs, History history = History::keep);
void eval(std::initializer_list<Tensor> outputs, History history = History::keep);

/// Plans like `eval`, then returns at once; the worker thread of the current stream (see wick/stream.h)
/// executes in the order of the calls. The tensors may be used at once, also recorded into further ops and
/// evaluated, on this stream or another: whoever needs the data waits for it. An error reaches everything
/// that depends on the tensors. Blocks while the stream's queue is full. Throws like `eval` what shows before
/// execution.
Evaluation eval_async(std::span<const Tensor> outputs, History history = History::keep);
Evaluation eval_async(std::initializer_list<Tensor> outputs, History history = History::keep);

/// While one lives, each op recorded on this thread is evaluated at once. For debugging, and as a baseline.
class EagerScope {
 public:
  EagerScope();
  ~EagerScope();
  EagerScope(const EagerScope&) = delete;
  EagerScope& operator=(const EagerScope&) = delete;

 private:
  bool previous_;
};

/// Counters of the process-wide plan cache. It holds at most 256 plans of together 4,000,000 steps; the least
/// recently used goes first.
struct PlanCacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::size_t plans = 0;
  /// Of the plans held: their keys, graphs and steps, without what kernels prepared for themselves.
  std::uint64_t bytes = 0;
};
PlanCacheStats plan_cache_stats();

/// Largest memory of a device that evaluations of this process held at once so far: arenas and results, in
/// bytes.
std::uint64_t peak_bytes(Device device = cpu);
void reset_peak_bytes(Device device = cpu);

/// Memory of results and arenas that died, in bytes, kept for later ones because fresh memory costs page
/// faults; bounded, and not part of `peak_bytes`. `release_kept_memory` returns it to the system, and with it
/// what `peak_bytes` counts of arenas that no evaluation uses and of a GPU's graphs (plans capture them
/// again).
std::uint64_t kept_memory_bytes(Device device = cpu);
void release_kept_memory(Device device = cpu);

}  // namespace wick
