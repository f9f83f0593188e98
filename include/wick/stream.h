#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "wick/eval.h"

namespace wick {

class StreamQueue;

struct StreamOptions {
  /// Threads that CPU kernels use for evaluations of this stream; 0: as `set_threads` says. Streams that are
  /// to run at once should share the cores, e.g. one thread each on two cores: kernels of two streams that
  /// both use all cores get in each other's way. Results may differ in rounding between numbers of threads.
  int threads = 0;
  /// Evaluations that may wait for their turn; whoever submits one more blocks (and helps) until there is
  /// room. At least 1.
  std::size_t max_queued = 256;
  /// Bytes of results that waiting evaluations may hold; the second one waiting is always admitted, so that
  /// one evaluation can run while the next is prepared.
  std::size_t max_queued_bytes = std::size_t{1} << 30;
};

/// An order of execution: evaluations submitted to one stream run one after another, in the order of the
/// calls; those of different streams run at once. A handle; copies are the same stream. Thread-safe.
///
/// A tensor may be used on any stream: an evaluation first waits for those that compute its inputs, wherever
/// they run. Dropping the last handle does not block: what was submitted still runs. At the end of the
/// process, evaluations that run are waited for, and those that have not begun end with an error.
class Stream {
 public:
  /// A new stream. Its worker thread starts with the first evaluation. Throws ArgumentError for options out
  /// of range.
  explicit Stream(const StreamOptions& options = {});

  /// The stream of `eval_async` where nothing else is said.
  static Stream main();
  /// The stream of the innermost StreamScope of this thread, or the main stream.
  static Stream current();

  /// Blocks until everything that was submitted so far is over, well or badly. Throws nothing of it: errors
  /// stay with the tensors.
  void synchronize() const;

  StreamQueue& queue() const noexcept { return *queue_; }
  friend bool operator==(const Stream& a, const Stream& b) noexcept { return a.queue_ == b.queue_; }

 private:
  explicit Stream(std::shared_ptr<StreamQueue> queue) : queue_(std::move(queue)) {}
  std::shared_ptr<StreamQueue> queue_;  // closes the queue with its last copy
};

/// While one lives, `eval_async` on this thread goes to its stream. Scopes nest.
class StreamScope {
 public:
  explicit StreamScope(Stream stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Stream stream_;
  const Stream* previous_;
};

/// `eval_async` on a given stream.
Evaluation eval_async(std::span<const Tensor> outputs, const Stream& stream, History history = History::keep);
Evaluation eval_async(std::initializer_list<Tensor> outputs, const Stream& stream,
                      History history = History::keep);

}  // namespace wick
