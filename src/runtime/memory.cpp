#include "runtime/memory.h"

#include <fmt/format.h>

#include <atomic>
#include <limits>
#include <vector>

#include "runtime/arena_pool.h"
#include "runtime/evaluation.h"
#include "wick/error.h"
#include "wick/memory.h"

namespace wick {
namespace {

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();
std::atomic<std::uint64_t> limit{unlimited};

}  // namespace

void set_memory_limit(std::optional<std::uint64_t> bytes) {
  limit.store(bytes.value_or(unlimited), std::memory_order_relaxed);
}

std::optional<std::uint64_t> memory_limit() noexcept {
  const std::uint64_t bytes = limit.load(std::memory_order_relaxed);
  return bytes == unlimited ? std::nullopt : std::optional(bytes);
}

void require_memory(const Plan& plan, const Backend& backend) {
  const std::uint64_t most = limit.load(std::memory_order_relaxed);
  const std::uint64_t wanted = plan.peak_bytes();
  const auto fits = [&](const MemoryUse& use) {
    return (most == unlimited || use.held + wanted <= most) &&
           (use.free == unlimited || wanted <= use.free + use.kept);
  };
  if (most == unlimited && plan.graph.device == cpu) return;
  if (fits(backend.memory_use())) return;
  release_idle_arenas(backend);
  const MemoryUse use = backend.memory_use();
  if (fits(use)) return;
  const std::string plans =
      fmt::format("this evaluation plans {} bytes (temporaries {}, results {}) and {} bytes are held", wanted,
                  plan.arena_bytes, wanted - plan.arena_bytes, use.held);
  if (most != unlimited && use.held + wanted > most)
    throw MemoryError(fmt::format(
        "{}, beyond the limit of {} bytes; compute in smaller parts (a smaller batch, shorter sequences) or "
        "raise the limit",
        plans, most));
  throw MemoryError(
      fmt::format("{}, but {} has {} bytes free; compute in smaller parts (a smaller batch, shorter "
                  "sequences) or keep fewer "
                  "intermediate results (gradient checkpointing)",
                  plans, plan.graph.device.str(), use.free + use.kept));
}

bool may_keep_packed(const Plan& plan, const Backend& backend) {
  const std::uint64_t most = limit.load(std::memory_order_relaxed);
  if (plan.packed_bytes == 0 || most == unlimited) return true;
  return backend.memory_use().held + plan.packed_bytes <= most;
}

void mark_weight(const Tensor& weight) {
  if (!weight.defined()) throw ArgumentError("mark_weight: an empty tensor was given");
  weight.eval();
  weight.node()->value()->storage->mark_weight();
}

std::uint64_t packed_weight_bytes() noexcept { return PackedCopies::total_bytes(); }
std::uint64_t packed_weight_limit() noexcept { return PackedCopies::limit(); }
void set_packed_weight_limit(std::uint64_t bytes) noexcept { PackedCopies::set_limit(bytes); }

PlannedMemory plan_memory(std::span<const Tensor> outputs) {
  std::vector<Tensor> open;
  for (const Tensor& output : outputs) {
    if (!output.defined()) throw ArgumentError("plan_memory: an empty tensor was given");
    if (!output.node()->value()) open.push_back(output);
  }
  if (open.empty()) return {};
  const BoundEvaluation evaluation(open, History::keep);
  const Plan& plan = evaluation.bound().plan();
  return {plan.arena_bytes, plan.peak_bytes() - plan.arena_bytes, plan.packed_bytes};
}

PlannedMemory plan_memory(std::initializer_list<Tensor> outputs) {
  return plan_memory(std::span<const Tensor>(outputs.begin(), outputs.size()));
}

}  // namespace wick
