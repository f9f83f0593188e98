#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wick {

/// Holds back text that may turn out to be the beginning of a stop text.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  /// Adds text; returns what is certain to come before any stop text.
  std::string push(std::string_view text);
  /// Whether a stop text was completed; nothing more comes out then.
  bool matched() const noexcept { return matched_; }
  /// The text held back, at the end of generation.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace wick
