#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/elementwise_source.h"

namespace wick::cuda {

inline constexpr int most_reduced_operands = 8;

/// A reduction of what a group computes, as CUDA C++ with two kernels. "reduce" takes a Walks<Index,
/// most_reduced_operands>, a Split, the inputs, the constants, the output and the totals; "combine" takes
/// the totals, long long parts and outputs, a Split, and the output. `rule` is a template of
/// device/reductions.cuh with all arguments but the last, "SumOf<"; `packed` says of each input whether
/// `width` neighbours along the reduced dimension are read at once, the others being one number for these.
ElementwiseSource reduction_source(const ElementwiseGroup& group, std::string_view rule, bool large,
                                   int width, const std::vector<bool>& packed);

}  // namespace wick::cuda
