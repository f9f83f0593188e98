#pragma once

#include <span>

#include "backend/backend.h"

// One function a kernel file: the entries that it offers. `registry.cpp` is the list of them.
namespace wick::cuda::kernels {

using Entries = std::span<const KernelEntry>;

Entries elementwise();  // unary, binary, where, cast, groups
Entries elementwise_batch();
Entries sum_of_squares();
Entries sources();   // constant, arange
Entries movement();  // copy, concat, pad, slice_update
Entries reduce();    // sum, max, min, argmax, argmin
Entries indexing();  // take, take_along_axis, index_add, scatter_add, scatter
Entries random();
Entries cumsum();
Entries categorical();
Entries sort();
Entries softmax();
Entries norm();
Entries rope();
Entries cross_entropy();
Entries linear_cross_entropy();
Entries matmul();  // matmul, linear
Entries thin_linear();
Entries linear_epilogue();
Entries reduction_group();
Entries attention();
Entries append_attention();
Entries lora();

bool can_group(const Op& op, InputSpecs inputs, const Spec& output);

}  // namespace wick::cuda::kernels
