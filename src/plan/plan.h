#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/step.h"
#include "optimize/graph.h"

namespace wick {

/// A leaf in the host's memory that a plan for another device needs: it is copied to its place in the arena
/// before the steps run.
struct HostLeaf {
  std::uint32_t leaf = 0;
  std::int64_t first = 0;  ///< where the bytes begin, from the leaf's address; below 0 for backward views
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  ///< in the arena
};

/// Where an output of a plan lies.
struct PlanOutput {
  std::uint32_t base = 0;
  Layout layout;
};

/// The memory behind the leaves that a run is bound to.
struct LeafStorages {
  std::vector<Storage*> storages;
  bool keep_packed = false;  ///< whether packed copies of weights may stay with them
};

/// Everything about an evaluation that does not depend on data: steps in order with their kernels prepared,
/// and a place for every value. Immutable and thread-safe: one plan may run on several threads at once.
///
/// Bases are numbered: 0 the arena, then the leaves, then the results.
class Plan {
 public:
  Graph graph;
  std::vector<Step> steps;
  std::unique_ptr<Program> program;  ///< the steps as a whole, on backends that run them so
  std::vector<HostLeaf> host_leaves;
  std::vector<PlanOutput> outputs;
  std::vector<std::uint64_t> result_bytes;
  std::uint64_t arena_bytes = 0;
  std::uint64_t packed_bytes = 0;  ///< of the packed copies of weights that runs keep, no part of peak_bytes

  std::uint32_t leaf_base(std::uint32_t leaf) const noexcept { return 1 + leaf; }
  std::uint32_t result_base(std::uint32_t result) const noexcept {
    return 1 + static_cast<std::uint32_t>(graph.leaves.size()) + result;
  }
  bool is_leaf_base(std::uint32_t base) const noexcept { return base >= 1 && base <= graph.leaves.size(); }

  /// Arena and results: what a run allocates, in bytes.
  std::uint64_t peak_bytes() const noexcept;

  /// Memory of the plan itself: its graph and steps, without what kernels prepared for themselves.
  std::uint64_t own_bytes() const noexcept;

  /// Runs the steps in order. `bases` are addresses in the numbering above. Null when the results are there;
  /// else the run goes on, with the memory behind the bases, until `finish`. Runs that one thread starts take
  /// place one after the other. Errors in the data are rethrown with the op and the line of user code that
  /// recorded it.
  std::unique_ptr<RunningProgram> start(std::span<std::byte* const> bases, const LeafStorages& leaves,
                                        std::span<StepWatcher* const> watchers = {}) const;
  /// Returns when the results of what was started are there; errors as of `start`.
  void finish(RunningProgram& running) const;

 private:
  void run_steps(std::span<std::byte* const> bases, const LeafStorages& leaves,
                 std::span<StepWatcher* const> watchers) const;
  std::unique_ptr<RunningProgram> start_program(std::span<std::byte* const> bases,
                                                std::span<StepWatcher* const> watchers) const;
  [[noreturn]] void rethrow(std::uint32_t step, std::exception_ptr error) const;
};

/// Chooses kernels, order, layouts and memory for an optimised graph. Throws DTypeError when the backend has
/// no kernel for a primitive op on its dtypes.
std::shared_ptr<const Plan> make_plan(Graph graph, const Backend& backend);

}  // namespace wick
