#include "backend/cpu/dispatch.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/line_walk.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

/// The first place of the largest (smallest) element; NaN beats everything.
template <bool largest, typename T>
std::int64_t find_extreme(const T* x, std::int64_t stride, std::int64_t count) {
  std::int64_t best = 0;
  Wide<T> value = wide(x[0]);
  for (std::int64_t i = 1; i < count; ++i) {
    const Wide<T> candidate = wide(x[i * stride]);
    const bool better = largest ? candidate > value : candidate < value;
    if (better || (candidate != candidate && value == value)) {
      best = i;
      value = candidate;
    }
  }
  return best;
}

template <bool largest>
class ArgReduceKernel final : public Kernel {
 public:
  explicit ArgReduceKernel(const KernelRequest& request)
      : dtype_(request.inputs[0].dtype),
        walk_(request.inputs[0].layout, static_cast<int>(request.attrs.as<ArgReduceAttrs>().axis)) {}

  void run(const void* const* inputs, void* output, void*) const override {
    auto* const out = static_cast<std::int64_t*>(output);
    visit_dtype(dtype_, [&]<typename T>() {
      const T* const x = static_cast<const T*>(inputs[0]);
      parallel_rows(walk_.lines.count(), walk_.length, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          out[i] = find_extreme<largest>(x + walk_.first(i), walk_.stride, walk_.length);
      });
    });
  }

 private:
  DType dtype_;
  LineWalk walk_;
};

template <bool largest>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<ArgReduceKernel<largest>>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "argmax", .prepare = prepare<true>, .layouts = InputLayouts::strided},
    {.op = "argmin", .prepare = prepare<false>, .layouts = InputLayouts::strided},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::argreduce() { return entries; }

}  // namespace wick
