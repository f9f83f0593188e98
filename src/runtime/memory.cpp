#include "runtime/memory.h"

#include <fmt/format.h>

#include <atomic>
#include <limits>
#include <vector>

#include "core/allocate.h"
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

void require_memory(const Plan& plan) {
  const std::uint64_t most = limit.load(std::memory_order_relaxed);
  if (most == unlimited) return;
  const std::uint64_t wanted = plan.peak_bytes();
  if (held_bytes() + wanted <= most) return;
  release_idle_arenas();
  const std::uint64_t held = held_bytes();
  if (held + wanted <= most) return;
  throw MemoryError(fmt::format(
      "this evaluation plans {} bytes (temporaries {}, results {}) and {} bytes are held, beyond the limit "
      "of "
      "{} bytes; compute in smaller parts (a smaller batch, shorter sequences) or raise the limit",
      wanted, plan.arena_bytes, wanted - plan.arena_bytes, held, most));
}

PlannedMemory plan_memory(std::span<const Tensor> outputs) {
  std::vector<Tensor> open;
  for (const Tensor& output : outputs) {
    if (!output.defined()) throw ArgumentError("plan_memory: an empty tensor was given");
    if (!output.node()->value()) open.push_back(output);
  }
  if (open.empty()) return {};
  const Plan& plan = BoundEvaluation(open, History::keep).plan();
  return {plan.arena_bytes, plan.peak_bytes() - plan.arena_bytes};
}

PlannedMemory plan_memory(std::initializer_list<Tensor> outputs) {
  return plan_memory(std::span<const Tensor>(outputs.begin(), outputs.size()));
}

}  // namespace wick
