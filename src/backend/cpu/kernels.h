#pragma once

#include <span>

#include "backend/backend.h"

// One function a kernel file: the entries that it offers. `registry.cpp` is the list of them.
namespace wick::cpu_kernels {

using Entries = std::span<const KernelEntry>;

Entries elementwise();  // unary, binary, where, cast, constant, arange
Entries elementwise_group();
Entries elementwise_batch();
bool can_group(const Op& op, InputSpecs inputs, const Spec& output);
Entries movement();  // copy, concat, pad, slice_update
Entries reduce();
Entries reduction_group();
Entries sum_of_squares();
Entries argreduce();
Entries cumsum();
Entries matmul();  // and linear, linear_epilogue
Entries linears();
Entries thin_linear();  // one row
Entries lora();         // lora_update, low_rank
Entries lora_projection();
Entries lora_gradient();
Entries indexing();  // take, take_along_axis, index_add, scatter_add, scatter
Entries sort();
Entries random();
Entries softmax();
Entries norm();
Entries rope();
Entries attention();
Entries cross_entropy();
Entries linear_cross_entropy();

}  // namespace wick::cpu_kernels
