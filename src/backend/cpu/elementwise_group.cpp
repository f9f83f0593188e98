#include "backend/cpu/elementwise_group.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/elementwise_program.h"
#include "backend/cpu/kernels.h"
#include "core/rounding.h"
#include "ops/attributes.h"
#include "wick/error.h"

namespace wick {
namespace {

using Register = ElementwiseProgram::Register;

template <std::size_t Bytes>
void move_tile(const void* a, const void*, const void*, void* out, std::size_t n) {
  std::memcpy(out, a, n * Bytes);
}

/// A cast between types that compute as the same one, e.g. bf16 to f32.
TileFunction move_of(DType type) {
  switch (size_of(type)) {
    case 8: return move_tile<8>;
    case 4: return move_tile<4>;
    default: return move_tile<1>;
  }
}

/// The function that computes an op on operands of one compute type; null where there is none.
TileFunction function_of(std::string_view op, DType operand, DType result) {
  if (op != "cast") return find_tile(op, operand);
  return operand == result ? move_of(result) : conversion_tile(operand, result);
}

/// Writes a group as a program; a register whose value is dead is used again.
class Emitter {
 public:
  explicit Emitter(const ElementwiseGroup& group)
      : group_(group), last_use_(group.last_uses()), register_of_(last_use_.size()) {}

  ElementwiseProgram emit() {
    for (std::uint32_t i = 0; i < group_.inputs.size(); ++i) {
      register_of_[i] = program_.add_register(compute_type(group_.inputs[i]));
      program_.loads.push_back({register_of_[i], static_cast<std::uint8_t>(i)});
    }
    const auto constants = static_cast<std::uint32_t>(group_.constants());
    first_computed_ = group_.inputs.size() + constants;
    for (std::uint32_t i = 0; i < constants; ++i) constant(i);
    for (std::uint32_t i = constants; i < group_.instructions.size(); ++i) instruction(i);
    for (std::uint32_t r = 0; r < group_.results.size(); ++r)
      program_.stores.push_back({register_of_[group_.results[r]], static_cast<std::uint8_t>(r)});
    return std::move(program_);
  }

 private:
  void constant(std::uint32_t i) {
    const auto attrs = group_.instructions[i].attrs.as<ConstantAttrs>();
    const Register target = program_.add_register(compute_type(attrs.type()));
    program_.fills.push_back({target, rounded_to(attrs.value, attrs.type())});
    register_of_[group_.inputs.size() + i] = target;
  }

  void instruction(std::uint32_t i) {
    const ElementwiseGroup::Instruction& part = group_.instructions[i];
    const std::uint32_t value = static_cast<std::uint32_t>(group_.inputs.size()) + i;
    const DType operand = compute_type(group_.dtype_of(part.operands[part.operands.size() - 1]));
    const DType result = compute_type(part.dtype);
    std::array<Register, 3> operands{};
    for (std::size_t k = 0; k < part.operands.size(); ++k) operands[k] = register_of_[part.operands[k]];
    register_of_[value] = take(result);
    program_.instructions.push_back(
        {function_of(part.op->name, operand, result), operands, register_of_[value]});
    release_after(i);
  }

  Register take(DType type) {
    for (std::size_t r = 0; r < free_.size(); ++r) {
      if (program_.registers[free_[r]] != type) continue;
      const Register found = free_[r];
      free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(r));
      return found;
    }
    return program_.add_register(type);
  }

  /// Frees the registers of values read for the last time by instruction `i`, or by none. Those of inputs,
  /// constants and results are not used again: tiles of inputs may lie in the caller's memory, constants
  /// serve every tile, and results are stored in the end.
  void release_after(std::uint32_t i) {
    for (std::size_t v = first_computed_; v <= group_.inputs.size() + i; ++v)
      if (last_use_[v] == i && !is_result(static_cast<std::uint32_t>(v))) free_.push_back(register_of_[v]);
  }

  bool is_result(std::uint32_t value) const {
    return std::find(group_.results.begin(), group_.results.end(), value) != group_.results.end();
  }

  const ElementwiseGroup& group_;
  std::vector<std::uint32_t> last_use_;
  std::vector<Register> register_of_;
  std::size_t first_computed_ = 0;  // the value behind the constants
  ElementwiseProgram program_;
  std::vector<Register> free_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return group_kernel(*request.group, request.inputs, request.output.shape());
}

constexpr std::array entries{KernelEntry{"elementwise_group", prepare, InputLayouts::strided, true}};

}  // namespace

ElementwiseProgram program_of(const ElementwiseGroup& group) { return Emitter(group).emit(); }

std::unique_ptr<ElementwiseKernel> group_kernel(const ElementwiseGroup& group, std::span<const Slot> inputs,
                                                const Shape& shape) {
  const ElementwiseProgram program = program_of(group);
  std::vector<Slot> outputs;
  for (std::uint32_t result : group.results)
    outputs.push_back({group.dtype_of(result), Layout::contiguous(shape)});
  return std::make_unique<ElementwiseKernel>(program, inputs, outputs);
}

cpu_kernels::Entries cpu_kernels::elementwise_group() { return entries; }

bool cpu_kernels::can_group(const Op& op, InputSpecs inputs, const Spec& output) {
  if (inputs.empty() || op.name == "clamp") return false;
  const DType operand = compute_type(inputs.back().dtype);
  const DType result = compute_type(output.dtype);
  return function_of(op.name, operand, result) != nullptr;
}

}  // namespace wick
