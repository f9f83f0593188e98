#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace wick {

/// A pass of the optimiser: a rewrite of the graph that an evaluation has to compute.
struct PassInfo {
  std::string_view name;
  bool required = false;  ///< cannot be disabled
};

/// The optimiser's passes in the order in which they run. A name that appears more than once is one pass that
/// runs more than once.
std::vector<PassInfo> optimizer_passes();

/// While one lives, evaluations that this thread starts leave the named passes out, beside those that the
/// environment variable WICK_PASSES ("-name,-name", read once) leaves out. Scopes nest and add up. Plans made
/// with different passes are kept apart. `grad` leaves out what it would recognize, too. Throws
/// ArgumentError, listing the names, for one that does not exist or is required.
class DisablePassesScope {
 public:
  explicit DisablePassesScope(std::span<const std::string_view> names);
  explicit DisablePassesScope(std::initializer_list<std::string_view> names)
      : DisablePassesScope(std::span(names.begin(), names.size())) {}
  ~DisablePassesScope();
  DisablePassesScope(const DisablePassesScope&) = delete;
  DisablePassesScope& operator=(const DisablePassesScope&) = delete;

 private:
  std::uint64_t previous_;
};

}  // namespace wick
