#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

template <Reduction reduction>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return make_reduce(reduction, request, request.attrs.as<ReduceAttrs>().axes);
}

template <Reduction reduction>
std::unique_ptr<Kernel> prepare_place(const KernelRequest& request) {
  return make_reduce(reduction, request, 1u << request.attrs.as<ArgReduceAttrs>().axis);
}

constexpr KernelEntry entries[] = {
    {.op = "sum", .prepare = prepare<Reduction::sum>, .layouts = InputLayouts::strided},
    {.op = "max", .prepare = prepare<Reduction::max>, .layouts = InputLayouts::strided},
    {.op = "min", .prepare = prepare<Reduction::min>, .layouts = InputLayouts::strided},
    {.op = "argmax", .prepare = prepare_place<Reduction::argmax>, .layouts = InputLayouts::strided},
    {.op = "argmin", .prepare = prepare_place<Reduction::argmin>, .layouts = InputLayouts::strided},
};

}  // namespace

kernels::Entries kernels::reduce() { return entries; }

}  // namespace wick::cuda
