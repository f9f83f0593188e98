#include "core/trace.h"

#include <chrono>
#include <utility>

#include "wick/error.h"

namespace wick::trace {
namespace {

constexpr std::size_t most_subjects = 1024;

std::atomic<std::uint32_t> thread_count{0};
thread_local std::uint32_t thread_number = 0;
thread_local std::int32_t current_stream = 0;

std::uint32_t this_thread() noexcept {
  if (thread_number == 0) thread_number = thread_count.fetch_add(1, std::memory_order_relaxed) + 1;
  return thread_number;
}

/// The recording that is going on.
class Recorder {
 public:
  static Recorder& instance() {
    // Never destroyed: a worker may still run when the process ends.
    static Recorder& recorder = *new Recorder;
    return recorder;
  }

  void start(std::size_t max_events) {
    std::lock_guard lock(mutex_);
    if (recording.load()) throw ArgumentError("a profile is being recorded already; stop it first");
    kept_ = {};
    numbers_.clear();
    max_events_ = max_events;
    kept_.starter = this_thread();
    kept_.begin = now();
    recording = true;
  }

  Recording stop() {
    std::lock_guard lock(mutex_);
    recording = false;
    kept_.end = now();
    numbers_.clear();
    first_subject_ += static_cast<std::uint32_t>(kept_.subjects.size());
    return std::exchange(kept_, {});
  }

  void add(Event event) {
    event.thread = this_thread();
    if (event.stream == 0) event.stream = current_stream;
    std::lock_guard lock(mutex_);
    if (!recording || event.begin < kept_.begin) return;  // it began before this recording
    if (event.subject != no_subject) {
      event.subject -= first_subject_;
      if (event.subject >= kept_.subjects.size()) return;  // of a recording before
      Total& total = kept_.subjects[event.subject].parts[event.index];
      ++total.count;
      total.nanoseconds += event.end - event.begin;
    }
    if (kept_.events.size() < max_events_)
      kept_.events.push_back(event);
    else
      ++kept_.dropped;
  }

  std::uint32_t subject(const std::shared_ptr<const void>& thing, std::size_t parts) {
    std::lock_guard lock(mutex_);
    const auto found = numbers_.find(thing.get());
    if (found != numbers_.end()) return found->second;
    if (!recording || kept_.subjects.size() >= most_subjects) return no_subject;
    const auto number = first_subject_ + static_cast<std::uint32_t>(kept_.subjects.size());
    kept_.subjects.push_back({thing, std::vector<Total>(parts)});
    numbers_.emplace(thing.get(), number);
    return number;
  }

 private:
  std::mutex mutex_;
  std::size_t max_events_ = 0;
  Recording kept_;
  std::uint32_t first_subject_ = 0;  // numbers are given once, so that late events find no wrong subject
  std::unordered_map<const void*, std::uint32_t> numbers_;
};

}  // namespace

std::int64_t now() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void start(std::size_t max_events) { Recorder::instance().start(max_events); }
Recording stop() { return Recorder::instance().stop(); }
void add(Event event) noexcept {
  try {
    Recorder::instance().add(event);
  } catch (...) {  // NOLINT(bugprone-empty-catch): as documented
  }
}
std::uint32_t subject(const std::shared_ptr<const void>& thing, std::size_t parts) {
  return Recorder::instance().subject(thing, parts);
}

void Span::open(std::string_view category, std::string_view name, SourceLocation where) noexcept {
  event_.category = category;
  event_.name = name;
  event_.where = where;
  event_.stream = current_stream;
  event_.begin = now();
}

void Span::close() noexcept {
  event_.end = now();
  add(event_);
}

StreamScope::StreamScope(std::int32_t stream) noexcept : previous_(std::exchange(current_stream, stream)) {}
StreamScope::~StreamScope() { current_stream = previous_; }

}  // namespace wick::trace
