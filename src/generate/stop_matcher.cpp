#include "generate/stop_matcher.h"

#include <algorithm>

#include "wick/error.h"

namespace wick {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty()) throw ArgumentError("a stop text must not be empty");
}

std::string StopMatcher::push(std::string_view text) {
  if (matched_) return {};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    matched_ = true;
    std::string sure = held_.substr(0, first);
    held_.clear();
    return sure;
  }
  std::size_t keep = 0;  // longest end of held_ that begins a stop text
  for (const std::string& stop : stops_)
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
  std::string sure = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return sure;
}

std::string StopMatcher::flush() {
  std::string rest;
  if (!matched_) rest.swap(held_);
  return rest;
}

}  // namespace wick
