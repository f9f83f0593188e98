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
  /// Of an elementwise_batch, whose program runs once for each member: the leading inputs that all members
  /// read. Those behind are a member's own; its node has them member by member.
  std::size_t shared = 0;

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

  /// Of a batch whose node has `node_inputs` inputs: how many members it has, and where a member's input is.
  std::size_t members(std::size_t node_inputs) const {
    return (node_inputs - shared) / (inputs.size() - shared);
  }
  std::size_t input_of(std::size_t member, std::size_t input) const {
    return input < shared ? input : input + member * (inputs.size() - shared);
  }
};

/// The op of a graph node that is a group; its meaning is in the node's group.
const Op& elementwise_group_op();

/// A group that runs on several sets of inputs, its members, each with a shape of its own. The inputs that
/// all read are single numbers; a member's own inputs have the shape of its results. Results are numbered
/// member by member.
const Op& elementwise_batch_op();

/// Result number `result`, from 1, of its input, which has several.
struct PickAttrs {
  std::int64_t result;
};
const Op& pick_op();

}  // namespace wick
