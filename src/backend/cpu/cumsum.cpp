#include "backend/cpu/dispatch.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/line_walk.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

/// f64 for a running sum of f32, which would lose a little at each of many steps.
template <typename T>
using Running = std::conditional_t<std::is_integral_v<T>, T, double>;

template <typename T>
void add_up(const T* x, std::int64_t stride, T* out, std::int64_t out_stride, std::int64_t count) {
  Running<T> total{};
  for (std::int64_t i = 0; i < count; ++i) {
    total = wrapping_add<Running<T>>(total, static_cast<Running<T>>(wide(x[i * stride])));
    out[i * out_stride] = static_cast<T>(static_cast<Wide<T>>(total));
  }
}

class CumsumKernel final : public Kernel {
 public:
  explicit CumsumKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        walk_(request.inputs[0].layout, static_cast<int>(request.attrs.as<AxisAttrs>().axis)) {}

  void run(const void* const* inputs, void* output, void*) const override {
    if (walk_.length == 0) return;
    visit_dtype(dtype_, [&]<typename T>() {
      const T* const x = static_cast<const T*>(inputs[0]);
      T* const out = static_cast<T*>(output);
      parallel_rows(walk_.lines.count(), walk_.length, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          add_up(x + walk_.first(i), walk_.stride, out + walk_.row_major_first(i), walk_.inner, walk_.length);
      });
    });
  }

 private:
  DType dtype_;
  LineWalk walk_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) { return std::make_unique<CumsumKernel>(request); }

constexpr KernelEntry entries[] = {
    {.op = "cumsum", .prepare = prepare, .layouts = InputLayouts::strided, .in_place = true},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::cumsum() { return entries; }

}  // namespace wick
