#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/elementwise_group.h"

namespace wick::cuda {

/// Whether there is code for an op on operands of this compute type (of `where`: the branches).
bool has_elementwise_code(std::string_view op, DType operand);

/// What a kernel of a group is told apart by, beside the group: never sizes or strides, which are arguments.
struct ElementwiseShape {
  /// All inputs are row-major like the output, or one number; else offsets are computed for each input.
  bool flat = false;
  /// Positions and offsets need 64 bits.
  bool large = false;
  /// Elements that a thread reads and writes at once. 1: there is no kernel "packed".
  int width = 1;
  /// Per input, whether it is read `width` elements at once; the others give one number for all of these.
  std::vector<bool> packed;
  /// Of a batch, which is flat: how many members a launch takes at most. 0: no batch.
  std::size_t members = 0;
};

/// A number that a kernel takes as an argument, in its compute type.
struct ElementwiseConstant {
  DType dtype = DType::f32;
  double value = 0;
};

/// A value of a group that is stored.
struct ElementwiseResult {
  std::uint32_t value = 0;
  DType dtype = DType::f32;
};

/// Where things lie in a batch's argument for one member: the addresses of its own inputs, those of its
/// results, and the number of elements, 8 bytes each.
inline std::size_t batch_member_words(const ElementwiseGroup& group) {
  return group.inputs.size() - group.shared + group.results.size() + 1;
}

/// A group as CUDA C++, with two kernels: "packed" and "single", which reads one element at a time and takes
/// any address. Arguments in order: Index count (flat) or Dims<Index>, then a Steps<Index> for each input;
/// the inputs; the results; the constants. A Dims of "packed" counts packs. Those of a batch: the members,
/// whose number is that of the grid's rows; the shared inputs; the constants.
struct ElementwiseSource {
  std::string text;
  std::vector<ElementwiseConstant> constants;
};
ElementwiseSource elementwise_source(const ElementwiseGroup& group,
                                     std::span<const ElementwiseResult> results,
                                     const ElementwiseShape& shape);

/// The device function of a group alone: `compute`, which takes the inputs and the constants k0, k1, ... as
/// they are computed, and references to the results.
ElementwiseSource elementwise_function(const ElementwiseGroup& group,
                                       std::span<const ElementwiseResult> results);

/// The type of device/numbers.cuh that a dtype is stored as, and the one that it is computed in.
std::string_view stored_type(DType dtype);
std::string_view computed_type(DType dtype);

}  // namespace wick::cuda
