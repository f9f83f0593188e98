#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace wick {

/// "12s", "3m05s", "2h07m"; nothing is longer than "999h59m".
std::string format_duration(double seconds);

/// "  40/200 [####............]  loss 2.1034  812 tokens/s  1m20s left", at most `width` columns; the bar
/// gives way to the text. The time left is not shown when it is 0, which also stands for unknown. `text` is
/// printable ASCII.
std::string progress_line(std::int64_t done, std::int64_t total, std::string_view text, double seconds_left,
                          int width);

/// One line on standard error that is overwritten as work goes on; silent when that is no terminal. Time
/// counts from the first `show`, so that preparations and the steps of a resumed run do not distort what is
/// left.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Step `done` of `total`; redraws at most ten times a second.
  void show(std::int64_t done, std::int64_t total, std::string_view text);
  /// Removes the line, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool enabled_;
  bool visible_ = false;
  std::int64_t first_done_ = -1;
  Clock::time_point first_time_;
  Clock::time_point last_drawn_;
};

}  // namespace wick
