#pragma once

#include <span>

#include "backend/backend.h"

// One function a kernel file: the entries that it offers. `registry.cpp` is the list of them.
namespace wick::cuda::kernels {

using Entries = std::span<const KernelEntry>;

Entries elementwise();  // unary, binary, where, cast, groups
Entries sources();      // constant, arange
Entries movement();     // copy, concat, pad, slice_update
Entries reduce();       // sum, max, min, argmax, argmin
bool can_group(const Op& op, InputSpecs inputs, const Spec& output);

}  // namespace wick::cuda::kernels
