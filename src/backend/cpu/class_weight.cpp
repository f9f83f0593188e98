#include "backend/cpu/class_weight.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/row_parallel.h"

namespace wick {

ClassWeight::Lines ClassWeight::lines_of(std::int64_t n) const {
  if (transposed_) return {d_, n, classes_ * element()};
  return {n, d_, d_ * element()};
}

void ClassWeight::widen(const void* weight, std::int64_t first, std::int64_t n, float* to) const {
  const std::byte* from = static_cast<const std::byte*>(weight) + offset_bytes(first);
  const Lines lines = lines_of(n);
  parallel_rows(lines.count, lines.length, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line)
      widen_row(dtype_, from + line * lines.step, to + line * lines.length, lines.length);
  });
}

void ClassWeight::narrow(const float* from, std::int64_t first, std::int64_t n, void* weight) const {
  std::byte* to = static_cast<std::byte*>(weight) + offset_bytes(first);
  const Lines lines = lines_of(n);
  parallel_rows(lines.count, lines.length, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line)
      narrow_row(dtype_, from + line * lines.length, to + line * lines.step, lines.length);
  });
}

float ClassWeight::at(const void* weight, std::int64_t i) const {
  if (dtype_ == DType::bf16) return static_cast<float>(static_cast<const bfloat16*>(weight)[i]);
  if (dtype_ == DType::f16) return static_cast<float>(static_cast<const float16*>(weight)[i]);
  return static_cast<const float*>(weight)[i];
}

void ClassWeight::copy_class(const void* weight, std::int64_t c, float* to) const {
  for (std::int64_t i = 0; i < d_; ++i) to[i] = at(weight, c * class_step() + i * feature_step());
}

/// As several sums that do not wait for each other.
float ClassWeight::sum_row(const void* weight, std::int64_t row) const {
  constexpr std::int64_t lanes = 16;
  std::array<float, lanes> sums{};
  for (std::int64_t c = 0; c < classes_; ++c)
    sums[static_cast<std::size_t>(c % lanes)] += at(weight, row * classes_ + c);
  return std::accumulate(sums.begin(), sums.end(), 0.0f);
}

void ClassWeight::sum_classes(const void* weight, float* sums) const {
  parallel_for(d_, std::max<std::int64_t>(16, 16384 / classes_), [&](std::int64_t begin, std::int64_t end) {
    if (transposed_) {
      for (std::int64_t i = begin; i < end; ++i) sums[i] = sum_row(weight, i);
      return;
    }
    std::fill(sums + begin, sums + end, 0.0f);
    for (std::int64_t c = 0; c < classes_; ++c)
      for (std::int64_t i = begin; i < end; ++i) sums[i] += at(weight, c * d_ + i);
  });
}

}  // namespace wick
