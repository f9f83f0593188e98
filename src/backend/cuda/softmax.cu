#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

template <typename T, template <typename> typename Row, bool logarithm>
__global__ void __launch_bounds__(most_row_threads) softmax_rows(const T* x, T* out, long long rows, int n) {
  begin_in_order();
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row(x + r * n, n);
    float largest = -infinity<float>();
    row.each([&](float& v) { largest = fmaxf(largest, v); });
    largest = block_max(largest);
    float sum = 0;
    if constexpr (logarithm) {
      row.each([&](float& v) { sum += expf(v - largest); });
      const float log_sum = logf(block_sum(sum));
      row.write(out + r * n, [&](float v) { return v - largest - log_sum; });
    } else {
      // A row in registers keeps its exponentials; one in memory makes them again.
      row.each([&](float& v) {
        v = exp_for<T>(v - largest);
        sum += v;
      });
      const float scale = 1 / block_sum(sum);
      if constexpr (std::is_same_v<Row<T>, RegisterRow<T>>)
        row.write(out + r * n, [&](float v) { return v * scale; });
      else
        row.write(out + r * n, [&](float v) { return exp_for<T>(v - largest) * scale; });
    }
  }
}

/// Over a contiguous last axis.
template <bool logarithm>
class SoftmaxKernel final : public Kernel {
 public:
  explicit SoftmaxKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        n_(request.output.shape().dim(-1)),
        rows_(n_ > 0 ? request.output.shape().elements() / n_ : 0) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (rows_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      const RowLaunch launch =
          RowLaunch::of<RegisterRow<T>>(rows_, n_, is_aligned_16(inputs[0]) && is_aligned_16(output));
      const auto kernel = launch.in_registers ? softmax_rows<T, RegisterRow, logarithm>
                                              : softmax_rows<T, MemoryRow, logarithm>;
      launch_kernel(kernel, {launch.blocks, launch.threads}, current_launch().stream, "softmax_rows",
                    static_cast<const T*>(inputs[0]), static_cast<T*>(output), rows_, static_cast<int>(n_));
    });
  }

 private:
  DType dtype_;
  std::int64_t n_;
  std::int64_t rows_;
};

bool supports(const KernelRequest& request) {
  const Slot& x = request.inputs[0];
  return x.dtype != DType::f64 && request.attrs.as<AxisAttrs>().axis == x.shape().rank() - 1 &&
         x.shape().dim(-1) <= Limits<int>::high;
}

template <bool logarithm>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<SoftmaxKernel<logarithm>>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "softmax", .prepare = prepare<false>, .in_place = true, .supports = supports},
    {.op = "log_softmax", .prepare = prepare<true>, .in_place = true, .supports = supports},
};

}  // namespace

kernels::Entries kernels::softmax() { return entries; }

}  // namespace wick::cuda
