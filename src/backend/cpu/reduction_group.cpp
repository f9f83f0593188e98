#include "ops/reduction_group.h"

#include <array>

#include "backend/cpu/elementwise_group.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/reduce_kernel.h"
#include "backend/reduction_request.h"

namespace wick {
namespace {

/// Shorter lines are not worth a call of each instruction.
constexpr std::int64_t shortest_line = 128;

/// Elements that a program makes of up to eight inputs, a tile at a time.
struct ProgramSource {
  static constexpr std::size_t operands = 8;
  static constexpr std::int64_t most_width = 1024;
  static constexpr std::int64_t tile_elements = 1024;
  using Offsets = StridedWalk<operands>::Offsets;

  class Tile {
   public:
    Tile(const ProgramSource& source, const void* const* inputs) : source_(source), inputs_(inputs) {
      for (const ElementwiseProgram::Fill& fill : source.program.fills) {
        const DType type = source.program.registers[fill.target];
        alignas(8) std::array<std::byte, 8> element{};
        write_number(fill.value, type, element.data());
        tile_load(type)(element.data(), 0, buffers_[fill.target], tile_elements);
        memory_[fill.target] = buffers_[fill.target];
      }
    }

    const void* load(const Offsets& at, const Offsets& strides, std::int64_t n) {
      const auto size = static_cast<std::size_t>(n);
      for (const ElementwiseProgram::Load& load : source_.program.loads)
        read(load, at[load.input], strides[load.input], size);
      for (const ElementwiseProgram::Instruction& part : source_.program.instructions) {
        const auto [a, b, c] = part.operands;
        part.function(memory_[a], memory_[b], memory_[c], buffers_[part.target], size);
        memory_[part.target] = buffers_[part.target];
      }
      return memory_[source_.program.stores[0].source];
    }

   private:
    void read(const ElementwiseProgram::Load& load, std::int64_t at, std::int64_t stride, std::size_t n) {
      const DType dtype = source_.dtypes[load.input];
      const std::byte* from =
          static_cast<const std::byte*>(inputs_[load.input]) + at * static_cast<std::int64_t>(size_of(dtype));
      if (stride == 1 && dtype == compute_type(dtype)) {
        memory_[load.target] = from;
        return;
      }
      source_.functions[load.input](from, stride, buffers_[load.target], n);
      memory_[load.target] = buffers_[load.target];
    }

    const ProgramSource& source_;
    const void* const* inputs_;
    std::array<const std::byte*, ElementwiseProgram::max_registers> memory_{};
    alignas(64) std::byte buffers_[ElementwiseProgram::max_registers][tile_elements * sizeof(double)];
  };

  std::int64_t at_once(const Offsets&) const { return tile_elements; }

  ElementwiseProgram program;
  std::vector<DType> dtypes;  // of the inputs
  std::vector<TileLoad> functions;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  const auto attrs = request.attrs.as<ReductionGroupAttrs>();
  const Shape shape = shape_of_elements(request);
  ProgramSource source{program_of(*request.group), {}, {}};
  std::array<Strides, ProgramSource::operands> strides{};
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    const Slot& input = request.inputs[i];
    source.dtypes.push_back(input.dtype);
    source.functions.push_back(tile_load(input.dtype));
    strides[i] = broadcast_strides(input.layout, shape);
  }
  const DType element = compute_type(request.group->dtype_of(request.group->results[0]));
  return std::make_unique<ReduceKernel<ProgramSource>>(std::move(source), name_of(attrs.reduction), shape,
                                                       strides, attrs.axes, element, request.output.dtype);
}

/// Whether there are long lines along the last axes, be they reduced or not.
bool supports(const KernelRequest& request) {
  if (request.inputs.size() > ProgramSource::operands) return false;
  const Shape shape = shape_of_elements(request);
  const ReduceAttrs axes = request.attrs.as<ReductionGroupAttrs>().axes;
  std::int64_t line = 1;
  for (int d = shape.rank() - 1; d >= 0 && axes.reduces(d) == axes.reduces(shape.rank() - 1); --d)
    line *= shape[d];
  return line >= shortest_line;
}

constexpr KernelEntry entries[] = {
    {.op = "reduction_group", .prepare = prepare, .layouts = InputLayouts::strided, .supports = supports},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::reduction_group() { return entries; }

}  // namespace wick
