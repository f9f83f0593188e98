#pragma once

#include <cstdint>
#include <vector>

#include "core/small_vector.h"
#include "graph/op.h"

namespace wick {

/// Elementwise ops that are computed together, in one pass over memory: a small program over values. Values
/// are numbered: first the inputs, then one an instruction; some are the results, of one shape. The first
/// instructions may be constants, which have no operands. All others have the shape of the results; inputs
/// and constants broadcast to it. Narrow floats (bf16, f16) are rounded where the result is stored and where
/// a cast asks for it, not between instructions; an instruction on f32 may read a narrow input as it is.
struct ElementwiseGroup {
  struct Instruction {
    const Op* op = nullptr;
    Attrs attrs;
    DType dtype = DType::f32;
    SmallVector<std::uint32_t, 3> operands;
  };
  std::vector<DType> inputs;
  std::vector<Instruction> instructions;
  /// The values that are stored. A graph node is the first; `pick` nodes stand for the others. Backends that
  /// say nothing else (`Backend::most_group_results`) get groups of one, which is the last instruction.
  std::vector<std::uint32_t> results;

  DType dtype_of(std::uint32_t value) const {
    return value < inputs.size() ? inputs[value] : instructions[value - inputs.size()].dtype;
  }
  /// Per value, the last instruction that reads it (its own number for values that none reads).
  std::vector<std::uint32_t> last_uses() const;
  /// The inputs, those first that fewest instructions lie between and `value`; among the operands of one
  /// instruction, the last one first (what a `where` keeps).
  std::vector<std::uint32_t> nearest_inputs(std::uint32_t value) const;
  /// The number of leading instructions that are constants.
  std::size_t constants() const;
};

/// The op of a graph node that is a group; its meaning is in the node's group.
const Op& elementwise_group_op();

/// Result number `result`, from 1, of the group that is its input.
struct PickAttrs {
  std::int64_t result;
  std::int64_t dtype;
};
const Op& pick_op();

}  // namespace wick
