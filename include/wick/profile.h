#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace wick {

struct ProfileOptions {
  /// Spans that are kept for the trace (about 100 bytes of memory each); the sums by op count all.
  std::size_t max_events = 200'000;
};

/// Time that the steps of one op took together.
struct OpTime {
  std::string op;
  std::uint64_t calls = 0;
  double seconds = 0;
  double flops = 0;
  double bytes = 0;          ///< each input read once, each output written once
  double floor_seconds = 0;  ///< the least that the hardware would need, from measured peaks; 0: not known
};

/// What a process did between two moments.
class Profile {
 public:
  /// From the start to the end of the recording.
  double seconds() const noexcept;
  /// The longest first.
  const std::vector<OpTime>& ops() const noexcept;
  /// Spans beyond ProfileOptions::max_events, which the trace lacks.
  std::uint64_t dropped_events() const noexcept;

  /// Tables for people: time by what the engine was doing, and by op.
  std::string summary() const;
  /// The trace event format of chrome://tracing and https://ui.perfetto.dev: spans of recording (by
  /// NameScope), planning with its passes, waiting, reading what was not evaluated, and every executed step
  /// with its shapes, line, FLOP/s and bytes a second.
  std::string trace_json() const;
  /// Writes the trace to a file, whole or not at all. Throws FileError.
  void write(const std::filesystem::path& file) const;

  struct Data;
  explicit Profile(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<const Data> data_;
};

/// Records a profile of everything that the process evaluates, on all threads, from its construction to
/// `stop` (or its end: then what was recorded is lost). There can be one at a time: a second one throws
/// ArgumentError. Steps get a few hundred nanoseconds longer; where none is recording, nothing does.
class Profiler {
 public:
  explicit Profiler(const ProfileOptions& options = {});
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Once. Measures the machine's peaks where that was not done yet, which takes some ten milliseconds.
  Profile stop();

 private:
  bool running_ = true;
};

}  // namespace wick
