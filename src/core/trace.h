#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "wick/source_location.h"

// What a profile is made of: spans of time, as the engine reports them while a profile is being recorded.
namespace wick::trace {

inline std::atomic<bool> recording{false};

/// Whether a profile is being recorded. The only thing that is asked where none is.
inline bool active() noexcept { return recording.load(std::memory_order_relaxed); }

/// Nanoseconds of the steady clock.
std::int64_t now() noexcept;

inline constexpr std::uint32_t no_subject = ~std::uint32_t{0};

/// A span of time on one thread. Names and categories live as long as the process.
struct Event {
  std::string_view category;
  std::string_view name;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::uint32_t thread = 0;
  std::int32_t stream = 0;             ///< whose job was running; 0: none
  std::uint32_t subject = no_subject;  ///< what it is about, a position in Recording::subjects
  std::uint32_t index = 0;             ///< which part of the subject
  SourceLocation where{};
};

/// How often a part of a subject came, and the time it took.
struct Total {
  std::uint64_t count = 0;
  std::int64_t nanoseconds = 0;
};

struct Subject {
  std::shared_ptr<const void> thing;
  std::vector<Total> parts;
};

struct Recording {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::uint32_t starter = 0;  ///< the thread that started it
  std::vector<Event> events;
  std::vector<Subject> subjects;
  std::uint64_t dropped = 0;  ///< events beyond the limit; the totals of subjects count them
};

/// Begins a recording that keeps at most `max_events`. Throws ArgumentError while one is going on.
void start(std::size_t max_events);
/// Ends it and hands it over. Spans that are still open are not in it.
Recording stop();

/// Adds a span that ended; its thread and stream are filled in. Where there is no memory for one more event,
/// the profile lacks it. Thread-safe.
void add(Event event) noexcept;
/// The number of a subject with so many parts, which it keeps alive; `no_subject` when there are too many.
std::uint32_t subject(const std::shared_ptr<const void>& thing, std::size_t parts);

/// Reports the time that it lives.
class Span {
 public:
  Span(std::string_view category, std::string_view name, SourceLocation where = {}) noexcept {
    if (active()) open(category, name, where);
  }
  ~Span() {
    if (event_.begin != 0) close();
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  void rename(std::string_view name) noexcept { event_.name = name; }

 private:
  void open(std::string_view category, std::string_view name, SourceLocation where) noexcept;
  void close() noexcept;
  Event event_;
};

/// While one lives, this thread executes a job of the stream with that number.
class StreamScope {
 public:
  explicit StreamScope(std::int32_t stream) noexcept;
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  std::int32_t previous_;
};

}  // namespace wick::trace
