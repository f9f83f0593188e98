#include "core/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace wick {
namespace {

constexpr std::chrono::milliseconds redraw_interval{100};
constexpr int longest_bar = 30;
constexpr int shortest_bar = 5;

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string draw_bar(std::int64_t done, std::int64_t total, int width) {
  const double share =
      total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  const auto filled = static_cast<std::size_t>(share * width);
  return fmt::format(" [{}{}]", std::string(filled, '#'),
                     std::string(static_cast<std::size_t>(width) - filled, '.'));
}

/// A bar is not worth an error where standard error is closed or full.
void print_error(const std::string& text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

std::string format_duration(double seconds) {
  constexpr std::int64_t longest = 1000 * 3600 - 60;
  const auto total =
      static_cast<std::int64_t>(std::clamp(std::round(seconds), 0.0, static_cast<double>(longest)));
  if (total < 60) return fmt::format("{}s", total);
  if (total < 3600) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
}

std::string progress_line(std::int64_t done, std::int64_t total, std::string_view text, double seconds_left,
                          int width) {
  const std::string all = fmt::format("{}", total);
  const std::string count = fmt::format("{:>{}}/{}", done, all.size(), all);
  std::string rest = fmt::format("  {}", text);
  if (seconds_left > 0) rest += fmt::format("  {} left", format_duration(seconds_left));
  const int brackets = 3;
  const int room = width - static_cast<int>(count.size() + rest.size()) - brackets;
  std::string line = count;
  if (room >= shortest_bar) line += draw_bar(done, total, std::min(room, longest_bar));
  line += rest;
  line.resize(std::min(line.size(), static_cast<std::size_t>(std::max(0, width))));
  return line;
}

ProgressBar::ProgressBar() : enabled_(isatty(STDERR_FILENO) != 0) {}

void ProgressBar::show(std::int64_t done, std::int64_t total, std::string_view text) {
  if (!enabled_) return;
  const Clock::time_point now = Clock::now();
  if (first_done_ < 0) {
    first_done_ = done;
    first_time_ = now;
  }
  if (visible_ && done < total && now - last_drawn_ < redraw_interval) return;
  last_drawn_ = now;
  visible_ = true;
  const double elapsed = std::chrono::duration<double>(now - first_time_).count();
  const std::int64_t counted = done - first_done_;
  const double left =
      counted > 0 ? elapsed / static_cast<double>(counted) * static_cast<double>(total - done) : 0;
  // One column stays free: some terminals wrap when the last one is written.
  print_error(fmt::format("\r{}\x1b[K", progress_line(done, total, text, left, terminal_width() - 1)));
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (!visible_) return;
  visible_ = false;
  print_error("\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace wick
