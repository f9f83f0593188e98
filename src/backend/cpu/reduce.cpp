#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/reduce_tiles.h"
#include "backend/cpu/strided_walk.h"
#include "ops/attributes.h"

namespace wick {
namespace {

using Walk = StridedWalk<1>;

constexpr std::int64_t tile_elements = 1024;
constexpr std::int64_t most_width = 256;       // outputs of a unit of work
constexpr std::int64_t few_reduced = 16;       // below, a call for each output costs more than a strided load
constexpr std::int64_t few_units = 64;         // below, the reduced dimensions are split too
constexpr std::int64_t part_elements = 32768;  // at least, in a part of the reduced dimensions
constexpr std::int64_t thread_elements = 16384;

/// The dimensions of the input that are reduced, or those that are not.
Walk select_dims(const KernelRequest& request, bool reduced) {
  const auto attrs = request.attrs.as<ReduceAttrs>();
  const Layout& layout = request.inputs[0].layout;
  std::vector<Walk::Dim> dims;
  for (int d = 0; d < layout.shape.rank(); ++d)
    if (attrs.reduces(d) == reduced)
      dims.push_back({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
  return Walk(dims);
}

/// sum, max and min over any axes of any layout. Outputs are worked on in units: neighbours along the
/// innermost kept dimension. A unit goes through the reduced elements either output by output, or, where the
/// kept dimension is denser in memory, row by row for all its outputs at once. How the work is split depends
/// on shapes only, so the result does not depend on the number of threads.
class ReduceKernel final : public Kernel {
 public:
  explicit ReduceKernel(const KernelRequest& request)
      : dtype_(request.inputs[0].dtype),
        output_dtype_(request.output.dtype),
        tiles_(reduce_tiles(request.op.name, compute_type(dtype_))),
        load_(tile_load(dtype_)),
        kept_(select_dims(request, false)),
        reduced_(select_dims(request, true)) {
    const Walk::Dim line = kept_.run();
    const bool denser = std::abs(line.strides[0]) < std::abs(reduced_.run().strides[0]);
    by_rows_ = line.size >= 8 && (denser || reduced_.count() < few_reduced);
    line_ = by_rows_ ? line.size : kept_.count();
    width_ = by_rows_ ? most_width : std::clamp<std::int64_t>(kept_.count() / few_units, 1, most_width);
    units_a_line_ = (line_ + width_ - 1) / width_;
    units_ = line_ > 0 ? kept_.count() / line_ * units_a_line_ : 0;
    if (units_ > 0 && units_ < few_units)
      parts_ =
          std::clamp<std::int64_t>(kept_.count() * reduced_.count() / part_elements, 1, few_units / units_);
    parts_ = std::clamp<std::int64_t>(reduced_.count(), 1, parts_);
  }

  std::size_t scratch_bytes() const override {
    return parts_ == 1 ? 0 : static_cast<std::size_t>(parts_ * kept_.count()) * tiles_.total_bytes;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const auto* const x = static_cast<const std::byte*>(inputs[0]);
    const std::int64_t work = std::max<std::int64_t>(1, width_ * reduced_.count() / parts_);
    parallel_for(units_ * parts_, std::max<std::int64_t>(1, thread_elements / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t task = begin; task < end; ++task)
                     run_task(x, task / parts_, task % parts_, output, scratch);
                 });
    if (parts_ == 1) return;
    const auto count = static_cast<std::size_t>(kept_.count());
    for (std::int64_t part = 1; part < parts_; ++part)
      tiles_.combine(total_at(scratch, part * kept_.count()), scratch, count);
    tiles_.store(scratch, output_dtype_, output, count);
  }

 private:
  struct Unit {
    std::int64_t first;  // output
    std::int64_t count;
  };

  Unit unit(std::int64_t u) const {
    const std::int64_t start = u % units_a_line_ * width_;
    return {u / units_a_line_ * line_ + start, std::min(width_, line_ - start)};
  }

  void* total_at(void* totals, std::int64_t i) const {
    return static_cast<std::byte*>(totals) + i * static_cast<std::int64_t>(tiles_.total_bytes);
  }

  void run_task(const std::byte* x, std::int64_t u, std::int64_t part, void* output, void* scratch) const {
    const Unit outputs = unit(u);
    const std::int64_t begin = reduced_.count() * part / parts_;
    const std::int64_t end = reduced_.count() * (part + 1) / parts_;
    alignas(64) std::byte own[most_width * sizeof(double)];
    void* const totals = parts_ == 1 ? own : total_at(scratch, part * kept_.count() + outputs.first);
    tiles_.start_totals(totals, static_cast<std::size_t>(outputs.count));
    if (by_rows_)
      add_rows(x, outputs, begin, end, totals);
    else
      add_outputs(x, outputs, begin, end, totals);
    if (parts_ == 1)
      tiles_.store(
          totals, output_dtype_,
          static_cast<std::byte*>(output) + outputs.first * static_cast<std::int64_t>(size_of(output_dtype_)),
          static_cast<std::size_t>(outputs.count));
  }

  const std::byte* element(const std::byte* x, std::int64_t offset) const {
    return x + offset * static_cast<std::int64_t>(size_of(dtype_));
  }

  /// `n` elements in their compute type: where they are, or in `tile`.
  const void* loaded(const std::byte* source, std::int64_t stride, std::int64_t n, std::byte* tile) const {
    if (stride == 1 && compute_type(dtype_) == dtype_) return source;
    load_(source, stride, tile, static_cast<std::size_t>(n));
    return tile;
  }

  void add_outputs(const std::byte* x, Unit outputs, std::int64_t begin, std::int64_t end,
                   void* totals) const {
    const std::int64_t kept_stride = kept_.run().strides[0];
    std::int64_t i = 0;
    kept_.for_each_run(outputs.first, outputs.first + outputs.count,
                       [&](const Walk::Offsets& at, std::int64_t length) {
                         for (std::int64_t k = 0; k < length; ++k, ++i)
                           add_output(element(x, at[0] + k * kept_stride), begin, end, total_at(totals, i));
                       });
  }

  void add_output(const std::byte* x, std::int64_t begin, std::int64_t end, void* total) const {
    const std::int64_t stride = reduced_.run().strides[0];
    alignas(64) std::byte tile[tile_elements * sizeof(double)];
    const bool direct = stride == 1 && compute_type(dtype_) == dtype_;
    reduced_.for_each_run(begin, end, [&](const Walk::Offsets& at, std::int64_t length) {
      const std::int64_t step = direct ? length : tile_elements;
      for (std::int64_t i = 0; i < length; i += step) {
        const std::int64_t n = std::min(step, length - i);
        tiles_.reduce(loaded(element(x, at[0] + i * stride), stride, n, tile), static_cast<std::size_t>(n),
                      total);
      }
    });
  }

  void add_rows(const std::byte* x, Unit outputs, std::int64_t begin, std::int64_t end, void* totals) const {
    const std::byte* const first = element(x, kept_.offsets_at(outputs.first)[0]);
    const std::int64_t kept_stride = kept_.run().strides[0];
    const std::int64_t stride = reduced_.run().strides[0];
    const auto n = static_cast<std::size_t>(outputs.count);
    alignas(64) std::byte blocks[most_width * sizeof(double)];
    alignas(64) std::byte tile[most_width * sizeof(double)];
    std::size_t in_block = 0;
    tiles_.start_blocks(blocks, n);
    reduced_.for_each_run(begin, end, [&](const Walk::Offsets& at, std::int64_t length) {
      for (std::int64_t r = 0; r < length; ++r) {
        tiles_.accumulate(loaded(element(first, at[0] + r * stride), kept_stride, outputs.count, tile),
                          blocks, n);
        if (++in_block < reduce_block) continue;
        tiles_.fold(blocks, totals, n);
        tiles_.start_blocks(blocks, n);
        in_block = 0;
      }
    });
    tiles_.fold(blocks, totals, n);
  }

  DType dtype_;
  DType output_dtype_;
  const ReduceTiles& tiles_;
  TileLoad load_;
  Walk kept_;
  Walk reduced_;
  bool by_rows_ = false;
  std::int64_t line_ = 0;  // outputs that units divide among them
  std::int64_t width_ = 1;
  std::int64_t units_a_line_ = 0;
  std::int64_t units_ = 0;
  std::int64_t parts_ = 1;  // of the reduced elements, each with totals of its own
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<ReduceKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "sum", .prepare = prepare, .layouts = InputLayouts::strided},
    {.op = "max", .prepare = prepare, .layouts = InputLayouts::strided},
    {.op = "min", .prepare = prepare, .layouts = InputLayouts::strided},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::reduce() { return entries; }

}  // namespace wick
