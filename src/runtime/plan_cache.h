#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "plan/plan.h"
#include "wick/eval.h"

namespace wick {

/// Plans by the structure of what they compute. Bounded: the least recently used plan goes first.
/// Thread-safe.
class PlanCache {
 public:
  static PlanCache& instance();

  std::shared_ptr<const Plan> find(std::string_view key);
  void insert(std::string key, std::shared_ptr<const Plan> plan);
  PlanCacheStats stats() const;
  /// Plans stay; what their programs keep of the device's memory goes.
  void release_kept_memory(Device device) const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Plan> plan;
  };
  static constexpr std::size_t most_plans = 256;
  static constexpr std::size_t most_steps = 4'000'000;

  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
  std::size_t steps_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
};

enum class PlanKey : std::uint8_t {
  structure,
  structure_and_lines,  ///< graphs recorded on other lines are others: messages about a plan name the right
                        ///< one
};

/// Bytes that identify the structure of an evaluation: ops, attributes, edges, the leaves' dtypes, shapes,
/// strides and whether they are donated, outputs, device, threads and optimiser settings. Never the data.
std::string plan_key(const Walk& walk, const std::vector<char>& donated, PlanKey kind = PlanKey::structure);

}  // namespace wick
