#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/walk.h"
#include "runtime/bound_plan.h"
#include "wick/eval.h"

namespace wick {

/// The graph that an evaluation of `outputs`, none of which has a value, starts from. What plans it on this
/// thread prepares kernels for the configured threads.
Graph graph_to_evaluate(std::span<const Tensor> outputs, History history);

/// The leaves of a walk in a plan's order.
std::vector<const Value*> leaves_of(const Walk& walk);

/// The plan of a walk whose roots have no value: found, or made. `checked` as for BoundPlan.
std::shared_ptr<const Plan> plan_for(const Walk& walk, const std::vector<char>& donated, bool checked);

/// One evaluation: what was recorded, and its plan bound to data. Made on the calling thread; executed there,
/// or on a stream's worker.
class BoundEvaluation {
 public:
  /// Plans (or finds the plan) for `outputs`, none of which has a value.
  BoundEvaluation(std::span<const Tensor> outputs, History history);
  ~BoundEvaluation();
  BoundEvaluation(const BoundEvaluation&) = delete;
  BoundEvaluation& operator=(const BoundEvaluation&) = delete;

  BoundPlan& bound() noexcept { return *bound_; }
  const BoundPlan& bound() const noexcept { return *bound_; }

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

  std::vector<Tensor> outputs_;
  History history_;
  Walk walk_;
  std::vector<char> donated_;
  std::vector<Tensor> held_;  // the leaves, once the walk is released
  std::optional<BoundPlan> bound_;
  AnnouncedReleases announced_;  // of results and donated leaves
};

}  // namespace wick
