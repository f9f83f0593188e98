#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

#include "wick/tensor.h"

namespace wick {

/// Memory of one evaluation, in bytes, known before it runs: that of temporaries (one arena, placed by
/// lifetime) and that of results. `packed_bytes` stay after it: copies of weights (see mark_weight), made by
/// the second evaluation that reads them; they are held, and shared by all evaluations.
struct PlannedMemory {
  std::uint64_t arena_bytes = 0;
  std::uint64_t result_bytes = 0;
  std::uint64_t packed_bytes = 0;

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

/// Says that `weight` is a weight: data that many evaluations will multiply with and none will overwrite (a
/// `Model` says it of its own). Matrix products of several rows then read a copy in the layout that the
/// processor wants, which costs as much memory as the weight in each direction that it is used in (forward,
/// and backward). The first product packs for itself; the copy is kept from the second on, dies with the
/// weight's memory, and goes when that is overwritten (History::drop). Evaluates `weight` if need be.
void mark_weight(const Tensor& weight);

/// Bytes of all such copies; they are part of what is held.
std::uint64_t packed_weight_bytes() noexcept;
/// The most that they may take, 2 GiB unless set: an evaluation packs weights in the order of their use as
/// long as there is room, and reads others as they lie. Nothing more is kept under a memory limit that it
/// would exceed. 0 turns packing off.
std::uint64_t packed_weight_limit() noexcept;
void set_packed_weight_limit(std::uint64_t bytes) noexcept;

}  // namespace wick
