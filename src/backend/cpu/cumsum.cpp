#include <algorithm>

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
T next(Running<T>& total, T element) {
  total = wrapping_add<Running<T>>(total, static_cast<Running<T>>(wide(element)));
  return static_cast<T>(static_cast<Wide<T>>(total));
}

template <typename T>
void add_up_line(const T* x, const LineWalk& walk, T* out) {
  Running<T> total{};
  for (std::int64_t i = 0; i < walk.length; ++i) out[i * walk.inner] = next(total, x[i * walk.stride]);
}

constexpr std::int64_t most_lines = 64;

/// Neighbouring lines at once, where they lie across the rows of the output.
template <typename T>
void add_up_lines(const T* x, const LineWalk& walk, std::int64_t lines, T* out) {
  const std::int64_t apart = walk.lines.run().strides[0];
  Running<T> totals[most_lines] = {};
  for (std::int64_t i = 0; i < walk.length; ++i, x += walk.stride, out += walk.inner)
    for (std::int64_t k = 0; k < lines; ++k) out[k] = next(totals[k], x[k * apart]);
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
        for (std::int64_t i = begin; i < end;) {
          const T* const line = x + walk_.first(i);
          T* const target = out + walk_.row_major_first(i);
          const std::int64_t lines = std::min({walk_.neighbours(i), end - i, most_lines});
          if (lines == 1)
            add_up_line(line, walk_, target);
          else
            add_up_lines(line, walk_, lines, target);
          i += lines;
        }
      });
    });
  }

 private:
  DType dtype_;
  LineWalk walk_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<CumsumKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "cumsum", .prepare = prepare, .layouts = InputLayouts::strided, .in_place = true},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::cumsum() { return entries; }

}  // namespace wick
