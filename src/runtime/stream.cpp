#include "wick/stream.h"

#include <fmt/format.h>

#include "runtime/stream_queue.h"
#include "wick/error.h"

namespace wick {
namespace {

thread_local const Stream* current_stream = nullptr;

/// What the handles of a stream share. Jobs share the queue instead, which so outlives the handles.
struct Handle {
  explicit Handle(const StreamOptions& options) : queue(std::make_shared<StreamQueue>(options)) {}
  ~Handle() { queue->close(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  const std::shared_ptr<StreamQueue> queue;
};

std::shared_ptr<StreamQueue> make_queue(const StreamOptions& options) {
  if (options.threads < 0 || options.threads > 4096)
    throw ArgumentError(
        fmt::format("the threads of a stream must be between 1 and 4096, or 0 for the process's, not {}",
                    options.threads));
  if (options.max_queued < 1)
    throw ArgumentError("a stream must be allowed to queue at least 1 evaluation, not 0");
  const auto handle = std::make_shared<Handle>(options);
  return {handle, handle->queue.get()};
}

}  // namespace

Stream::Stream(const StreamOptions& options) : queue_(make_queue(options)) {}

Stream Stream::main() {
  // Never destroyed: static objects of the program may evaluate at its end.
  static const Stream& stream = *new Stream;
  return stream;
}

Stream Stream::current() { return current_stream ? *current_stream : main(); }

void Stream::synchronize() const { queue_->synchronize(); }

StreamScope::StreamScope(Stream stream) : stream_(std::move(stream)), previous_(current_stream) {
  current_stream = &stream_;
}

StreamScope::~StreamScope() { current_stream = previous_; }

}  // namespace wick
