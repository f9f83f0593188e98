#include <algorithm>
#include <array>
#include <vector>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/reduce_tiles.h"

namespace wick {
namespace {

/// Parts of equal size are added up by themselves, and their sums in order: the result does not depend on the
/// number of threads.
class SumOfSquaresKernel final : public Kernel {
 public:
  explicit SumOfSquaresKernel(const KernelRequest& request) {
    for (std::size_t i = 0; i < request.inputs.size(); ++i) {
      const std::int64_t count = request.inputs[i].shape().elements();
      for (std::int64_t first = 0; first < count; first += part_elements)
        parts_.push_back({i, first, std::min(part_elements, count - first)});
    }
  }
  std::size_t scratch_bytes() const override { return parts_.size() * sizeof(double); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* const sums = static_cast<double*>(scratch);
    parallel_for(static_cast<std::int64_t>(parts_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto p = static_cast<std::size_t>(begin); p < static_cast<std::size_t>(end); ++p)
        sums[p] = sum(static_cast<const float*>(inputs[parts_[p].input]) + parts_[p].first, parts_[p].count);
    });
    double total = 0;
    for (std::size_t p = 0; p < parts_.size(); ++p) total += sums[p];
    *static_cast<float*>(output) = static_cast<float>(total);
  }

 private:
  static constexpr std::int64_t part_elements = 16384;
  static constexpr std::int64_t tile_elements = 1024;
  struct Part {
    std::size_t input;
    std::int64_t first;
    std::int64_t count;
  };

  double sum(const float* x, std::int64_t count) const {
    alignas(64) std::array<float, tile_elements> tile;  // NOLINT: filled before it is read
    double total = 0;
    for (std::int64_t i = 0; i < count; i += tile_elements) {
      const auto n = static_cast<std::size_t>(std::min(tile_elements, count - i));
      square_(x + i, x + i, x + i, tile.data(), n);
      tiles_.reduce(tile.data(), n, &total);
    }
    return total;
  }

  std::vector<Part> parts_;
  TileFunction square_ = find_tile("square", DType::f32);
  const ReduceTiles& tiles_ = reduce_tiles("sum", DType::f32);
};

constexpr std::array entries{
    KernelEntry{"sum_of_squares",
                [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
                  return std::make_unique<SumOfSquaresKernel>(request);
                },
                InputLayouts::contiguous, false,
                [](const KernelRequest& request) { return request.output.dtype == DType::f32; }}};

}  // namespace

cpu_kernels::Entries cpu_kernels::sum_of_squares() { return entries; }

}  // namespace wick
