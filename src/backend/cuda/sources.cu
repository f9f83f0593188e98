#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/device/numbers.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

/// start + i step, in f64 and rounded as the host does.
template <typename T>
__global__ void fill_range(T* out, long long count, double start, double step) {
  begin_in_order();
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    const double value = __dadd_rn(start, __dmul_rn(static_cast<double>(i), step));
    out[i] = written<T>(convert<Wide<T>>(value));
  }
}

class RangeKernel final : public Kernel {
 public:
  explicit RangeKernel(const ArangeAttrs& attrs) : attrs_(attrs) {}
  void run(const void* const* /*inputs*/, void* output, void* /*scratch*/) const override {
    if (attrs_.count == 0) return;
    visit_element(attrs_.type(), [&]<typename T>() {
      launch_kernel(fill_range<T>, {blocks_for(attrs_.count, 256), 256}, current_launch().stream,
                    "fill_range", static_cast<T*>(output), attrs_.count, attrs_.start, attrs_.step);
    });
  }

 private:
  ArangeAttrs attrs_;
};

constexpr KernelEntry entries[] = {
    {.op = "constant",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       const auto attrs = request.attrs.as<ConstantAttrs>();
       return std::make_unique<RangeKernel>(ArangeAttrs{1, attrs.dtype, attrs.value, 0});
     }},
    {.op = "arange",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<RangeKernel>(request.attrs.as<ArangeAttrs>());
     }},
};

}  // namespace

kernels::Entries kernels::sources() { return entries; }

}  // namespace wick::cuda
