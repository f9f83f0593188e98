#include <limits>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/reduce_kernel.h"

namespace wick {
namespace {

constexpr std::int64_t tile_elements = 1024;

/// Elements as they lie in memory, in their compute type.
struct MemorySource {
  static constexpr std::size_t operands = 1;
  static constexpr std::int64_t most_width = 256;
  using Offsets = StridedWalk<operands>::Offsets;

  class Tile {
   public:
    Tile(const MemorySource& source, const void* const* inputs)
        : source_(source), x_(static_cast<const std::byte*>(inputs[0])) {}
    const void* load(const Offsets& at, const Offsets& strides, std::int64_t n) {
      const std::byte* from = x_ + at[0] * static_cast<std::int64_t>(size_of(source_.dtype));
      if (source_.is_direct(strides)) return from;
      source_.function(from, strides[0], tile_, static_cast<std::size_t>(n));
      return tile_;
    }

   private:
    const MemorySource& source_;
    const std::byte* x_;
    alignas(64) std::byte tile_[tile_elements * sizeof(double)];
  };

  bool is_direct(const Offsets& strides) const { return strides[0] == 1 && compute_type(dtype) == dtype; }
  std::int64_t at_once(const Offsets& strides) const {
    return is_direct(strides) ? std::numeric_limits<std::int64_t>::max() : tile_elements;
  }

  DType dtype;
  TileLoad function;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  const Slot& x = request.inputs[0];
  return std::make_unique<ReduceKernel<MemorySource>>(
      MemorySource{x.dtype, tile_load(x.dtype)}, request.op.name, x.shape(),
      std::array<Strides, 1>{x.layout.strides}, request.attrs.as<ReduceAttrs>(), compute_type(x.dtype),
      request.output.dtype);
}

constexpr KernelEntry entries[] = {
    {.op = "sum", .prepare = prepare, .layouts = InputLayouts::strided},
    {.op = "max", .prepare = prepare, .layouts = InputLayouts::strided},
    {.op = "min", .prepare = prepare, .layouts = InputLayouts::strided},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::reduce() { return entries; }

}  // namespace wick
