#include "backend/cuda/indexing.h"

#include "backend/cuda/kernels.h"

namespace wick::cuda {
namespace {

constexpr KernelEntry entries[] = {
    {.op = "take", .prepare = prepare_take, .layouts = InputLayouts::strided},
    {.op = "take_along_axis", .prepare = prepare_take_along_axis, .layouts = InputLayouts::strided},
    {.op = "index_add", .prepare = prepare_index_add, .in_place = true},
    {.op = "scatter_add", .prepare = prepare_scatter_add, .in_place = true},
    {.op = "scatter", .prepare = prepare_scatter, .in_place = true},
};

}  // namespace

kernels::Entries kernels::indexing() { return entries; }

}  // namespace wick::cuda
