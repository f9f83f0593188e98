#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/reduce_tiles.h"
#include "backend/cpu/strided_walk.h"
#include "ops/attributes.h"

namespace wick {

/// sum, max and min over any axes of what a Source gives. Outputs are worked on in units: neighbours along
/// the innermost kept dimension. A unit goes through the reduced elements either output by output, or, where
/// the kept dimension is denser in memory, row by row for all its outputs at once. How the work is split
/// depends on shapes only, so the result does not depend on the number of threads.
///
/// A Source says of how many operands an element is made (`operands`), how many outputs a unit has at most
/// (`most_width`), and has the state of one thread (`Tile`). Of elements that lie `strides` apart, `at_once`
/// says how many one call of `load` gives at most.
template <typename Source>
class ReduceKernel final : public Kernel {
  static constexpr std::size_t operands = Source::operands;
  static constexpr std::int64_t most_width = Source::most_width;
  using Walk = StridedWalk<operands>;
  using Offsets = typename Walk::Offsets;
  using Tile = typename Source::Tile;

 public:
  /// `op`: which reduction; `strides`: those of each operand over `shape`, the elements'; `element`: their
  /// compute type.
  ReduceKernel(Source source, std::string_view op, const Shape& shape,
               const std::array<Strides, operands>& strides, const ReduceAttrs& axes, DType element,
               DType output)
      : source_(std::move(source)),
        output_dtype_(output),
        tiles_(reduce_tiles(op, element)),
        kept_(select_dims(shape, strides, axes, false)),
        reduced_(select_dims(shape, strides, axes, true)) {
    const typename Walk::Dim line = kept_.run();
    const bool denser = reach(line.strides) < reach(reduced_.run().strides);
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
    const std::int64_t work = std::max<std::int64_t>(1, width_ * reduced_.count() / parts_);
    parallel_for(units_ * parts_, std::max<std::int64_t>(1, thread_elements / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   Tile tile(source_, inputs);
                   for (std::int64_t task = begin; task < end; ++task)
                     run_task(tile, task / parts_, task % parts_, output, scratch);
                 });
    if (parts_ == 1) return;
    const auto count = static_cast<std::size_t>(kept_.count());
    for (std::int64_t part = 1; part < parts_; ++part)
      tiles_.combine(total_at(scratch, part * kept_.count()), scratch, count);
    tiles_.store(scratch, output_dtype_, output, count);
  }

 private:
  static constexpr std::int64_t few_reduced = 16;  // below, a call for each output costs more than a stride
  static constexpr std::int64_t few_units = 64;    // below, the reduced dimensions are split too
  static constexpr std::int64_t part_elements = 32768;  // at least, in a part of the reduced dimensions
  static constexpr std::int64_t thread_elements = 16384;

  struct Unit {
    std::int64_t first;  // output
    std::int64_t count;
  };

  /// The dimensions that are reduced, or those that are not.
  static Walk select_dims(const Shape& shape, const std::array<Strides, operands>& strides,
                          const ReduceAttrs& axes, bool reduced) {
    std::vector<typename Walk::Dim> dims;
    for (int d = 0; d < shape.rank(); ++d) {
      if (axes.reduces(d) != reduced) continue;
      typename Walk::Dim dim{shape[d], {}};
      for (std::size_t k = 0; k < operands; ++k) dim.strides[k] = strides[k][static_cast<std::size_t>(d)];
      dims.push_back(dim);
    }
    return Walk(dims);
  }

  static std::int64_t reach(const Offsets& strides) {
    std::int64_t sum = 0;
    for (std::int64_t stride : strides) sum += std::abs(stride);
    return sum;
  }
  static Offsets moved(const Offsets& at, const Offsets& strides, std::int64_t steps) {
    Offsets to;
    for (std::size_t k = 0; k < operands; ++k) to[k] = at[k] + steps * strides[k];
    return to;
  }

  Unit unit(std::int64_t u) const {
    const std::int64_t start = u % units_a_line_ * width_;
    return {u / units_a_line_ * line_ + start, std::min(width_, line_ - start)};
  }

  void* total_at(void* totals, std::int64_t i) const {
    return static_cast<std::byte*>(totals) + i * static_cast<std::int64_t>(tiles_.total_bytes);
  }

  void run_task(Tile& tile, std::int64_t u, std::int64_t part, void* output, void* scratch) const {
    const Unit outputs = unit(u);
    const std::int64_t begin = reduced_.count() * part / parts_;
    const std::int64_t end = reduced_.count() * (part + 1) / parts_;
    alignas(64) std::byte own[most_width * sizeof(double)];
    void* const totals = parts_ == 1 ? own : total_at(scratch, part * kept_.count() + outputs.first);
    tiles_.start_totals(totals, static_cast<std::size_t>(outputs.count));
    if (by_rows_)
      add_rows(tile, outputs, begin, end, totals);
    else
      add_outputs(tile, outputs, begin, end, totals);
    if (parts_ == 1)
      tiles_.store(
          totals, output_dtype_,
          static_cast<std::byte*>(output) + outputs.first * static_cast<std::int64_t>(size_of(output_dtype_)),
          static_cast<std::size_t>(outputs.count));
  }

  void add_outputs(Tile& tile, Unit outputs, std::int64_t begin, std::int64_t end, void* totals) const {
    const Offsets kept_strides = kept_.run().strides;
    std::int64_t i = 0;
    kept_.for_each_run(outputs.first, outputs.first + outputs.count,
                       [&](const Offsets& at, std::int64_t length) {
                         for (std::int64_t k = 0; k < length; ++k, ++i)
                           add_output(tile, moved(at, kept_strides, k), begin, end, total_at(totals, i));
                       });
  }

  void add_output(Tile& tile, const Offsets& first, std::int64_t begin, std::int64_t end, void* total) const {
    const Offsets strides = reduced_.run().strides;
    const std::int64_t most = source_.at_once(strides);
    reduced_.for_each_run(begin, end, [&](const Offsets& at, std::int64_t length) {
      const Offsets start = moved(first, at, 1);
      for (std::int64_t i = 0; i < length; i += most) {
        const std::int64_t n = std::min(most, length - i);
        tiles_.reduce(tile.load(moved(start, strides, i), strides, n), static_cast<std::size_t>(n), total);
      }
    });
  }

  void add_rows(Tile& tile, Unit outputs, std::int64_t begin, std::int64_t end, void* totals) const {
    const Offsets first = kept_.offsets_at(outputs.first);
    const Offsets kept_strides = kept_.run().strides;
    const Offsets strides = reduced_.run().strides;
    const auto n = static_cast<std::size_t>(outputs.count);
    alignas(64) std::byte blocks[most_width * sizeof(double)];
    std::size_t in_block = 0;
    tiles_.start_blocks(blocks, n);
    reduced_.for_each_run(begin, end, [&](const Offsets& at, std::int64_t length) {
      const Offsets start = moved(first, at, 1);
      for (std::int64_t r = 0; r < length; ++r) {
        tiles_.accumulate(tile.load(moved(start, strides, r), kept_strides, outputs.count), blocks, n);
        if (++in_block < reduce_block) continue;
        tiles_.fold(blocks, totals, n);
        tiles_.start_blocks(blocks, n);
        in_block = 0;
      }
    });
    tiles_.fold(blocks, totals, n);
  }

  Source source_;
  DType output_dtype_;
  const ReduceTiles& tiles_;
  Walk kept_;
  Walk reduced_;
  bool by_rows_ = false;
  std::int64_t line_ = 0;  // outputs that units divide among them
  std::int64_t width_ = 1;
  std::int64_t units_a_line_ = 0;
  std::int64_t units_ = 0;
  std::int64_t parts_ = 1;  // of the reduced elements, each with totals of its own
};

}  // namespace wick
