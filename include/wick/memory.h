#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

#include "wick/tensor.h"

namespace wick {

/// Memory of one evaluation, in bytes, known before it runs: that of temporaries (one arena, placed by
/// lifetime) and that of results.
struct PlannedMemory {
  std::uint64_t arena_bytes = 0;
  std::uint64_t result_bytes = 0;

  std::uint64_t peak_bytes() const noexcept { return arena_bytes + result_bytes; }
};

/// Plans the evaluation of `outputs` and runs nothing; the plan is kept for `eval`. Throws what planning
/// throws.
PlannedMemory plan_memory(std::span<const Tensor> outputs);
PlannedMemory plan_memory(std::initializer_list<Tensor> outputs);

/// From now on an evaluation is refused before it runs, with a MemoryError that states the numbers, when what
/// is held and what it plans exceed `bytes` together. Process-wide; nothing means no limit. Files that are
/// mapped (model weights) do not count: the system can take their pages back.
void set_memory_limit(std::optional<std::uint64_t> bytes);
std::optional<std::uint64_t> memory_limit() noexcept;

}  // namespace wick
