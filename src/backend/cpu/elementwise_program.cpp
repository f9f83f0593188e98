#include "backend/cpu/elementwise_program.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_walk.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::int64_t tile_elements = 1024;
constexpr std::size_t tile_bytes = tile_elements * sizeof(double);
/// Rows of at least this length get tiles of their own, which contiguous inputs then need not be copied to.
constexpr std::int64_t long_row = 256;
/// Fewer elements than this are not worth a second thread.
constexpr std::int64_t grain = 16384;

std::uint8_t element_bytes(DType dtype) { return static_cast<std::uint8_t>(size_of(dtype)); }

}  // namespace

ElementwiseProgram::Register ElementwiseProgram::add_register(DType type) {
  if (registers.size() == max_registers) throw InternalError("an elementwise program has too many registers");
  registers.push_back(type);
  return static_cast<Register>(registers.size() - 1);
}

/// Where a tile begins: its index in the output, and its coordinates in dims_.
struct ElementwiseKernel::Position {
  std::int64_t index;
  std::array<std::int64_t, max_rank> at;

  Position(std::int64_t start, const ElementwiseKernel& kernel) : index(start), at{} {
    for (int d = kernel.rank_; d-- > 0;) {
      at[static_cast<std::size_t>(d)] = start % kernel.dims_[static_cast<std::size_t>(d)];
      start /= kernel.dims_[static_cast<std::size_t>(d)];
    }
  }
  /// n must not go beyond the end of the row.
  void advance_in_row(std::int64_t n, const ElementwiseKernel& kernel) {
    index += n;
    auto d = static_cast<std::size_t>(kernel.rank_ - 1);
    at[d] += n;
    while (d > 0 && at[d] == kernel.dims_[d]) {
      at[d] = 0;
      ++at[--d];
    }
  }
  std::int64_t left_in_row(const ElementwiseKernel& kernel) const {
    const auto last = static_cast<std::size_t>(kernel.rank_ - 1);
    return kernel.dims_[last] - at[last];
  }
  std::int64_t offset(const Strides& strides, int rank) const {
    std::int64_t sum = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(rank); ++d) sum += at[d] * strides[d];
    return sum;
  }
};

ElementwiseKernel::ElementwiseKernel(const ElementwiseProgram& program, std::span<const Slot> inputs,
                                     std::span<const Slot> outputs)
    : instructions_(program.instructions) {
  const Shape& shape = outputs[0].shape();
  count_ = shape.elements();
  for (const ElementwiseProgram::Load& load : program.loads) {
    const Slot& slot = inputs[load.input];
    loads_.push_back({load.target, load.input, element_bytes(slot.dtype),
                      slot.dtype == program.registers[load.target],
                      slot.layout.is_contiguous() && slot.shape().elements() == count_, tile_load(slot.dtype),
                      broadcast_strides(slot.layout, shape)});
  }
  for (const ElementwiseProgram::Fill& fill : program.fills) {
    fills_.push_back({fill.target, tile_load(program.registers[fill.target]), {}});
    write_number(fill.value, program.registers[fill.target], fills_.back().element.data());
  }
  for (const ElementwiseProgram::Store& store : program.stores) {
    const DType dtype = outputs[store.output].dtype;
    const bool last = instructions_.empty() || instructions_.back().target == store.source;
    if (last && dtype == program.registers[store.source]) direct_store_ = static_cast<int>(stores_.size());
    stores_.push_back({store.source, store.output, element_bytes(dtype), tile_store(dtype)});
  }
  collapse_dims(shape);
  const auto varying = std::stable_partition(loads_.begin(), loads_.end(), [this](const Load& load) {
    return !load.contiguous && std::all_of(load.strides.begin(), load.strides.begin() + rank_,
                                           [](std::int64_t s) { return s == 0; });
  });
  uniform_loads_.assign(loads_.begin(), varying);
  loads_.erase(loads_.begin(), varying);
  flat_ = is_flat();
}

void ElementwiseKernel::collapse_dims(const Shape& shape) {
  const auto joins_row_above = [this](std::size_t d, std::int64_t size) {
    return std::all_of(loads_.begin(), loads_.end(), [&](const Load& load) {
      return load.strides[static_cast<std::size_t>(rank_ - 1)] == load.strides[d] * size;
    });
  };
  // dims_[0, rank_) is what the dimensions before d became; strides move along.
  for (std::size_t d = 0; d < static_cast<std::size_t>(shape.rank()); ++d) {
    const std::int64_t size = shape[static_cast<int>(d)];
    if (size == 1) continue;
    if (rank_ > 0 && joins_row_above(d, size)) {
      dims_[static_cast<std::size_t>(rank_ - 1)] *= size;
      --rank_;
    } else {
      dims_[static_cast<std::size_t>(rank_)] = size;
    }
    for (Load& load : loads_) load.strides[static_cast<std::size_t>(rank_)] = load.strides[d];
    ++rank_;
  }
  if (rank_ == 0) {
    dims_[0] = 1;
    rank_ = 1;
  }
}

/// One instruction that can work on memory as it lies.
bool ElementwiseKernel::is_flat() const {
  return instructions_.size() == 1 && uniform_loads_.empty() && fills_.empty() && stores_.size() == 1 &&
         direct_store_ == 0 && std::all_of(loads_.begin(), loads_.end(), [](const Load& load) {
           return load.direct && load.contiguous;
         });
}

void ElementwiseKernel::run(const void* const* inputs, void* const* outputs) const {
  if (flat_) return run_flat(inputs, outputs);
  parallel_for(count_, grain,
               [&](std::int64_t begin, std::int64_t end) { run_tiles(inputs, outputs, begin, end); });
}

void ElementwiseKernel::run_flat(const void* const* inputs, void* const* outputs) const {
  std::array<const std::byte*, ElementwiseProgram::max_registers> memory{};
  std::array<std::uint8_t, ElementwiseProgram::max_registers> bytes{};
  for (const Load& load : loads_) {
    memory[load.target] = static_cast<const std::byte*>(inputs[load.input]);
    bytes[load.target] = load.bytes;
  }
  const ElementwiseProgram::Instruction& instruction = instructions_[0];
  const auto [a, b, c] = instruction.operands;
  auto* out = static_cast<std::byte*>(outputs[stores_[0].output]);
  parallel_for(count_, grain, [&, a = a, b = b, c = c](std::int64_t begin, std::int64_t end) {
    instruction.function(memory[a] + begin * bytes[a], memory[b] + begin * bytes[b],
                         memory[c] + begin * bytes[c], out + begin * stores_[0].bytes,
                         static_cast<std::size_t>(end - begin));
  });
}

void ElementwiseKernel::run_tiles(const void* const* inputs, void* const* outputs, std::int64_t begin,
                                  std::int64_t end) const {
  alignas(64) std::byte buffers[ElementwiseProgram::max_registers][tile_bytes];
  std::array<const std::byte*, ElementwiseProgram::max_registers> memory{};
  const auto most = static_cast<std::size_t>(std::min(tile_elements, end - begin));
  for (const Fill& fill : fills_) {
    fill.function(fill.element.data(), 0, buffers[fill.target], most);
    memory[fill.target] = buffers[fill.target];
  }
  for (const Load& load : uniform_loads_) {
    load.function(inputs[load.input], 0, buffers[load.target], most);
    memory[load.target] = buffers[load.target];
  }

  const bool by_rows = rank_ > 1 && dims_[static_cast<std::size_t>(rank_ - 1)] >= long_row;
  for (Position position(begin, *this); position.index < end;) {
    std::int64_t n = std::min(tile_elements, end - position.index);
    if (by_rows) n = std::min(n, position.left_in_row(*this));
    const auto size = static_cast<std::size_t>(n);

    const auto output_at = [&](const Store& store) {
      return static_cast<std::byte*>(outputs[store.output]) + position.index * store.bytes;
    };
    std::byte* const result =
        direct_store_ < 0 ? nullptr : output_at(stores_[static_cast<std::size_t>(direct_store_)]);
    for (const Load& load : loads_) {
      std::byte* const buffer = result && instructions_.empty() ? result : buffers[load.target];
      memory[load.target] =
          load_tile(load, static_cast<const std::byte*>(inputs[load.input]), position, size, buffer);
    }
    prefetch(inputs, position.index + n, std::min(position.index + 2 * n, end));
    for (const ElementwiseProgram::Instruction& instruction : instructions_) {
      const bool last = &instruction == &instructions_.back();
      std::byte* const target = result && last ? result : buffers[instruction.target];
      const auto [a, b, c] = instruction.operands;
      instruction.function(memory[a], memory[b], memory[c], target, size);
      memory[instruction.target] = target;
    }
    for (const Store& store : stores_) store.function(memory[store.source], output_at(store), size);

    if (by_rows)
      position.advance_in_row(n, *this);
    else
      position = Position(position.index + n, *this);
  }
}

/// Asks for the elements of the next tile that are converted: a conversion takes all of a tile at once, and
/// then memory would rest while the instructions run.
void ElementwiseKernel::prefetch(const void* const* inputs, std::int64_t begin, std::int64_t end) const {
  constexpr std::int64_t line = 64;
  for (const Load& load : loads_) {
    if (load.direct || !load.contiguous) continue;
    const auto* input = static_cast<const std::byte*>(inputs[load.input]);
    for (std::int64_t at = begin * load.bytes; at < end * load.bytes; at += line)
      __builtin_prefetch(input + at, 0, 2);
  }
}

const std::byte* ElementwiseKernel::load_tile(const Load& load, const std::byte* input,
                                              const Position& position, std::size_t n,
                                              std::byte* buffer) const {
  const std::int64_t bytes = load.bytes;
  if (load.contiguous) {
    const std::byte* source = input + position.index * bytes;
    if (load.direct) return source;
    load.function(source, 1, buffer, n);
    return buffer;
  }
  const std::int64_t stride = load.strides[static_cast<std::size_t>(rank_ - 1)];
  if (load.direct && stride == 1 && static_cast<std::int64_t>(n) <= position.left_in_row(*this))
    return input + position.offset(load.strides, rank_) * bytes;

  const std::int64_t register_bytes = load.direct ? bytes : static_cast<std::int64_t>(sizeof(float));
  Position run = position;
  for (std::byte* out = buffer; n > 0;) {
    const std::int64_t part = std::min(static_cast<std::int64_t>(n), run.left_in_row(*this));
    load.function(input + run.offset(load.strides, rank_) * bytes, stride, out,
                  static_cast<std::size_t>(part));
    out += part * register_bytes;
    n -= static_cast<std::size_t>(part);
    run.advance_in_row(part, *this);
  }
  return buffer;
}

}  // namespace wick
