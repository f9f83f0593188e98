#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/walk.h"
#include "plan/plan.h"
#include "wick/eval.h"

namespace wick {

/// The graph that an evaluation of `outputs`, none of which has a value, starts from.
Graph graph_to_evaluate(std::span<const Tensor> outputs, History history);

class ArenaLease;

/// One evaluation: a plan bound to data. Made on the calling thread; executed there, or on a stream's worker.
class BoundEvaluation {
 public:
  /// Plans (or finds the plan) for `outputs`, none of which has a value.
  BoundEvaluation(std::span<const Tensor> outputs, History history);
  ~BoundEvaluation();
  BoundEvaluation(const BoundEvaluation&) = delete;
  BoundEvaluation& operator=(const BoundEvaluation&) = delete;

  const Plan& plan() const noexcept { return *plan_; }

  /// Allocates the results. Throws MemoryError when the plan does not fit.
  void allocate();
  /// Bytes of the results.
  std::uint64_t result_bytes() const noexcept;
  /// Waits for leaves that are still being computed (rethrowing their errors), then starts the plan, which may
  /// go on until `finish`. `before`: an evaluation that this thread started and that may still run; this one
  /// takes place behind it, and must be able to.
  void start(const BoundEvaluation* before = nullptr);
  /// Whether the plan may be started while `before` runs: both on one GPU, in the same scratch memory, and
  /// nothing that is computed elsewhere is missing.
  bool can_start_behind(const BoundEvaluation& before) const;
  /// Waits some microseconds; whether the plan is over.
  bool wait_briefly();
  /// Waits for the plan's end. Throws its error, or that of what it was started behind.
  void finish();
  /// Gives the outputs their values; `completion` is null when the data is there.
  void publish(const std::shared_ptr<Completion>& completion);
  /// Lets go of history that nobody can ask for (or of all, as asked), once the outputs are evaluated.
  void forget_history();
  /// After `publish` with a completion: history that is to be dropped goes at once, and no handle to the
  /// outputs stays, so that a later evaluation may take the memory of an output that nobody else holds,
  /// although it is still being computed.
  void release_outputs();

 private:
  Device device() const { return outputs_.front().device(); }
  void find_plan();
  std::unique_ptr<RunningProgram> run(std::span<std::byte* const> bases) const;

  std::vector<Tensor> outputs_;
  History history_;
  Walk walk_;
  std::vector<char> donated_;
  std::shared_ptr<const Plan> plan_;
  int threads_;                       // those that the plan was made for
  bool checked_;                      // for NaN and infinity, step by step
  std::vector<const Value*> leaves_;  // in the plan's order; kept alive by walk_ or held_
  std::vector<std::byte*> leaf_data_;
  std::vector<std::shared_ptr<Storage>> results_;
  std::shared_ptr<Completion> completion_;  // as published
  std::shared_ptr<ArenaLease> arena_;       // while the plan runs
  std::shared_ptr<Completion> before_;      // of what the plan was started behind and reads results of
  std::unique_ptr<RunningProgram> running_;
  std::vector<Tensor> held_;         // the leaves, once the walk is released
  std::vector<Storage*> announced_;  // see Storage::announce_release
};

}  // namespace wick
