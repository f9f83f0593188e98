#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "graph/node.h"
#include "plan/plan.h"

namespace wick {

class ArenaLease;

/// One run of a plan: bound to data, started, finished. Who makes it keeps the leaves alive.
class BoundPlan {
 public:
  /// `leaves` in the plan's order. `checked`: for NaN and infinity, step by step. Made for `threads` threads.
  BoundPlan(std::shared_ptr<const Plan> plan, std::vector<const Value*> leaves, int threads, bool checked);
  ~BoundPlan();
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  const Plan& plan() const noexcept { return *plan_; }
  std::span<const std::shared_ptr<Storage>> results() const noexcept { return results_; }

  /// Bytes of the results.
  std::uint64_t result_bytes() const noexcept;
  /// Allocates the results. Throws MemoryError when the plan does not fit.
  void allocate();
  /// Waits for leaves that are still being computed (rethrowing their errors), then starts the plan, which
  /// may go on until `finish`. `before`: a run that this thread started and that may still go on; this one
  /// takes place behind it, and must be able to.
  void start(const BoundPlan* before = nullptr);
  /// Whether the plan may be started while `before` runs: both on one GPU, in the same scratch memory, and
  /// nothing that is computed elsewhere is missing.
  bool can_start_behind(const BoundPlan& before) const;
  /// Waits some microseconds; whether the plan is over.
  bool wait_briefly();
  /// Waits for the plan's end. Throws its error, or that of what it was started behind.
  void finish();
  /// Says what completes when the data is there, for values that are published before; null (as it is at
  /// first): it is there.
  void complete_with(std::shared_ptr<Completion> completion) { completion_ = std::move(completion); }
  /// The value of an output.
  Value value_of(std::size_t output) const;

 private:
  std::unique_ptr<RunningProgram> run(std::span<std::byte* const> bases) const;

  std::shared_ptr<const Plan> plan_;
  int threads_;
  bool checked_;
  std::vector<const Value*> leaves_;
  std::vector<std::byte*> leaf_data_;
  std::vector<std::shared_ptr<Storage>> results_;
  std::shared_ptr<Completion> completion_;  // of the outputs' values
  std::shared_ptr<ArenaLease> arena_;       // while the plan runs
  std::shared_ptr<Completion> before_;      // of what the plan was started behind and reads results of
  std::unique_ptr<RunningProgram> running_;
};

}  // namespace wick
