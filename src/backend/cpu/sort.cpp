#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/line_walk.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

/// An unsigned number that orders as the element does; equal elements (zeros of both signs, NaNs) get the
/// same one.
template <typename T>
std::uint32_t order_key(T value) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<std::uint32_t>(value) ^ (std::is_signed_v<T> ? 0x80000000u : 0u);
  } else {
    const float number = wide(value);
    if (std::isnan(number)) return ~0u;
    const auto bits = std::bit_cast<std::uint32_t>(number + 0.0f);  // -0 becomes 0
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  }
}

/// Key and position in one word: the sort compares nothing else and touches nothing else.
template <typename T>
void sort_packed(const T* x, std::int64_t stride, std::int64_t count, bool descending, std::uint64_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t key = order_key(x[i * stride]);
    out[i] = static_cast<std::uint64_t>(descending ? ~key : key) << 32 | static_cast<std::uint64_t>(i);
  }
  std::sort(out, out + count);
  for (std::int64_t i = 0; i < count; ++i) out[i] &= 0xFFFFFFFFu;
}

template <typename T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  }
  return a < b;
}

template <typename T>
void sort_positions(const T* x, std::int64_t stride, std::int64_t count, bool descending,
                    std::uint64_t* out) {
  std::iota(out, out + count, std::uint64_t{0});
  const auto at = [&](std::uint64_t i) { return wide(x[static_cast<std::int64_t>(i) * stride]); };
  std::sort(out, out + count, [&](std::uint64_t a, std::uint64_t b) {
    const auto first = at(descending ? b : a);
    const auto second = at(descending ? a : b);
    if (before(first, second)) return true;
    return !before(second, first) && a < b;
  });
}

/// Sorts lines in the output itself; a line of the output that is not contiguous goes through scratch memory.
class ArgsortKernel final : public Kernel {
 public:
  explicit ArgsortKernel(const KernelRequest& request)
      : dtype_(request.inputs[0].dtype),
        descending_(request.attrs.as<SortAttrs>().descending != 0),
        walk_(request.inputs[0].layout, static_cast<int>(request.attrs.as<SortAttrs>().axis)) {}

  std::size_t scratch_bytes() const override {
    return walk_.inner == 1
               ? 0
               : static_cast<std::size_t>(walk_.lines.count() * walk_.length) * sizeof(std::uint64_t);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (walk_.length == 0) return;
    visit_dtype(dtype_, [&]<typename T>() {
      const T* const x = static_cast<const T*>(inputs[0]);
      auto* const out = static_cast<std::uint64_t*>(output);
      auto* const lines = walk_.inner == 1 ? out : static_cast<std::uint64_t*>(scratch);
      parallel_rows(walk_.lines.count(), walk_.length, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          std::uint64_t* const line = lines + i * walk_.length;
          sort_line(x + walk_.first(i), line);
          if (line == out + i * walk_.length) continue;
          std::uint64_t* const target = out + walk_.row_major_first(i);
          for (std::int64_t k = 0; k < walk_.length; ++k) target[k * walk_.inner] = line[k];
        }
      });
    });
  }

 private:
  template <typename T>
  void sort_line(const T* x, std::uint64_t* line) const {
    if constexpr (sizeof(T) <= 4) {
      if (walk_.length <= std::numeric_limits<std::uint32_t>::max())
        return sort_packed(x, walk_.stride, walk_.length, descending_, line);
    }
    sort_positions(x, walk_.stride, walk_.length, descending_, line);
  }

  DType dtype_;
  bool descending_;
  LineWalk walk_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<ArgsortKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "argsort", .prepare = prepare, .layouts = InputLayouts::strided},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::sort() { return entries; }

}  // namespace wick
