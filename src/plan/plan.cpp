#include "plan/plan.h"

#include <array>
#include <numeric>

#include "backend/run_step.h"
#include "core/allocate.h"
#include "graph/record.h"
#include "wick/error.h"

namespace wick {

namespace {

/// The packed form of a step's input: a kept copy, which is made the second time that somebody asks for it,
/// or one for this run alone at `place`. `hold` keeps a copy alive.
const void* packed(const Kernel& kernel, const Packing& packing, const void* input, std::byte* place,
                   Storage& leaf, bool keep, std::shared_ptr<Storage>& hold) {
  const std::int64_t offset = static_cast<const std::byte*>(input) - leaf.data();
  int asked = 0;
  hold = leaf.packed_copies().find(offset, packing.format, asked);
  if (hold) return hold->data();
  if (!keep || asked < 2 || PackedCopies::total_bytes() + packing.bytes > PackedCopies::limit()) {
    kernel.pack(packing, input, place);
    return place;
  }
  hold = allocate_host(packing.bytes);
  kernel.pack(packing, input, hold->data());
  leaf.packed_copies().keep(offset, packing.format, hold);
  return hold->data();
}

}  // namespace

std::uint64_t Plan::peak_bytes() const noexcept {
  return std::accumulate(result_bytes.begin(), result_bytes.end(), arena_bytes);
}

std::uint64_t Plan::own_bytes() const noexcept {
  return sizeof(Plan) + graph.nodes.size() * sizeof(GraphNode) + graph.leaves.size() * sizeof(GraphLeaf) +
         steps.size() * sizeof(Step) + outputs.size() * sizeof(PlanOutput);
}

std::unique_ptr<RunningProgram> Plan::start(std::span<std::byte* const> bases, const LeafStorages& leaves,
                                            std::span<StepWatcher* const> watchers) const {
  if (program) return start_program(bases, watchers);
  run_steps(bases, leaves, watchers);
  return nullptr;
}

void Plan::finish(RunningProgram& running) const {
  try {
    running.wait();
  } catch (const StepFault& fault) {
    rethrow(fault.step, fault.error);
  }
}

void Plan::run_steps(std::span<std::byte* const> bases, const LeafStorages& leaves,
                     std::span<StepWatcher* const> watchers) const {
  std::array<const void*, 8> few;
  std::vector<const void*> many;
  for (std::uint32_t s = 0; s < steps.size(); ++s) {
    const Step& step = steps[s];
    const void** inputs = few.data();
    if (step.inputs.size() > few.size()) {
      many.resize(step.inputs.size());
      inputs = many.data();
    }
    for (std::size_t i = 0; i < step.inputs.size(); ++i) inputs[i] = resolve(step.inputs[i], bases);
    for (StepWatcher* watcher : watchers) watcher->begin_step(s);
    SmallVector<std::shared_ptr<Storage>, 1> held;
    for (std::size_t i = 0; i < step.packed.size(); ++i) {
      const PackedInput& p = step.packed[i];
      held.push_back(nullptr);
      inputs[p.input] =
          packed(*step.kernel, step.kernel->packings()[i], inputs[p.input], resolve(p.place, bases),
                 *leaves.storages[p.leaf], leaves.keep_packed, held[i]);
    }
    try {
      run_step(step, inputs, bases);
    } catch (const ArgumentError&) {
      rethrow(s, std::current_exception());
    }
    for (StepWatcher* watcher : watchers) watcher->end_step(s, resolve(step.output, bases));
  }
}

std::unique_ptr<RunningProgram> Plan::start_program(std::span<std::byte* const> bases,
                                                    std::span<StepWatcher* const> watchers) const {
  std::vector<Transfer> transfers;
  transfers.reserve(host_leaves.size());
  for (const HostLeaf& leaf : host_leaves)
    transfers.push_back({bases[leaf_base(leaf.leaf)] + leaf.first, bases[0] + leaf.offset,
                         static_cast<std::size_t>(leaf.bytes)});
  // Where a host leaf lies now is no business of the program, which may know runs by their addresses.
  std::vector<std::byte*> device_bases(bases.begin(), bases.end());
  for (const HostLeaf& leaf : host_leaves) device_bases[leaf_base(leaf.leaf)] = nullptr;
  try {
    return program->start(device_bases, transfers, watchers);
  } catch (const StepFault& fault) {
    rethrow(fault.step, fault.error);
  }
}

void Plan::rethrow(std::uint32_t step, std::exception_ptr error) const {
  const GraphNode& node = graph.nodes[steps[step].node];
  try {
    std::rethrow_exception(std::move(error));
  } catch (const ArgumentError& e) {
    throw ArgumentError(std::string(node.op->name) + ": " + e.what() + "\n  in " +
                        describe_call(*node.op, graph.input_specs(node), node.attrs, node.where));
  }
}

}  // namespace wick
