#include <algorithm>
#include <array>
#include <cmath>

#include "backend/cpu/elementwise_program.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

using Register = ElementwiseProgram::Register;

/// The type that decides which function an op uses: that of its last input (`where` begins with a condition).
DType operand_type(const KernelRequest& request) { return compute_type(request.inputs.back().dtype); }

Register load_input(ElementwiseProgram& program, const KernelRequest& request, std::size_t input) {
  const Register target = program.add_register(compute_type(request.inputs[input].dtype));
  program.loads.push_back({target, static_cast<std::uint8_t>(input)});
  return target;
}

std::unique_ptr<Kernel> finish(ElementwiseProgram& program, const KernelRequest& request, Register result) {
  program.stores.push_back({result, 0});
  return std::make_unique<ElementwiseKernel>(program, request.inputs, std::span(&request.output, 1));
}

bool has_tile(const KernelRequest& request) {
  return find_tile(request.op.name, operand_type(request)) != nullptr;
}

/// Any op of up to three tensors.
std::unique_ptr<Kernel> prepare_op(const KernelRequest& request) {
  ElementwiseProgram program;
  std::array<Register, 3> operands{};
  for (std::size_t i = 0; i < request.inputs.size(); ++i) operands[i] = load_input(program, request, i);
  const Register result = program.add_register(compute_type(request.output.dtype));
  program.instructions.push_back({find_tile(request.op.name, operand_type(request)), operands, result});
  return finish(program, request, result);
}

std::unique_ptr<Kernel> prepare_clamp(const KernelRequest& request) {
  const auto limits = request.attrs.as<ClampAttrs>();
  const DType type = operand_type(request);
  ElementwiseProgram program;
  const Register x = load_input(program, request, 0);
  const Register low = program.add_register(type);
  const Register high = program.add_register(type);
  const Register result = program.add_register(type);
  program.fills = {{low, limits.low}, {high, limits.high}};
  program.instructions.push_back({find_tile(request.op.name, type), {x, low, high}, result});
  return finish(program, request, result);
}

std::unique_ptr<Kernel> prepare_cast(const KernelRequest& request) {
  ElementwiseProgram program;
  Register result = load_input(program, request, 0);
  const DType to = compute_type(request.output.dtype);
  if (TileFunction convert = conversion_tile(operand_type(request), to)) {
    const Register source = result;
    result = program.add_register(to);
    program.instructions.push_back({convert, {source, source, source}, result});
  }
  return finish(program, request, result);
}

class ConstantKernel final : public Kernel {
 public:
  explicit ConstantKernel(const ConstantAttrs& attrs) : attrs_(attrs) {}
  void run(const void* const*, void* output, void*) const override {
    write_number(attrs_.value, attrs_.type(), output);
  }

 private:
  ConstantAttrs attrs_;
};

class ArangeKernel final : public Kernel {
 public:
  explicit ArangeKernel(const ArangeAttrs& attrs) : attrs_(attrs) {}
  void run(const void* const*, void* output, void*) const override {
    const auto bytes = static_cast<std::int64_t>(size_of(attrs_.type()));
    parallel_for(attrs_.count, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        write_number(attrs_.start + static_cast<double>(i) * attrs_.step, attrs_.type(),
                     static_cast<std::byte*>(output) + i * bytes);
    });
  }

 private:
  ArangeAttrs attrs_;
};

template <typename Made, typename Attributes>
std::unique_ptr<Kernel> prepare_source(const KernelRequest& request) {
  return std::make_unique<Made>(request.attrs.as<Attributes>());
}

constexpr KernelEntry in_place(std::string_view op, std::unique_ptr<Kernel> (*prepare)(const KernelRequest&),
                               bool (*supports)(const KernelRequest&) = nullptr) {
  return {op, prepare, InputLayouts::strided, true, supports};
}

constexpr auto entries = [] {
  constexpr std::array ops{
      "neg",  "abs",        "sign",      "exp",           "log",         "sqrt",       "rsqrt",
      "sin",  "cos",        "tanh",      "sigmoid",       "erf",         "square",     "relu",
      "silu", "gelu",       "gelu_tanh", "logical_not",   "is_finite",   "add",        "sub",
      "mul",  "div",        "pow",       "minimum",       "maximum",     "equal",      "not_equal",
      "less", "less_equal", "greater",   "greater_equal", "logical_and", "logical_or", "where"};
  std::array<KernelEntry, ops.size() + 4> list{};
  for (std::size_t i = 0; i < ops.size(); ++i) list[i] = in_place(ops[i], prepare_op, has_tile);
  list[ops.size()] = in_place("clamp", prepare_clamp, has_tile);
  list[ops.size() + 1] = in_place("cast", prepare_cast);
  list[ops.size() + 2] = {"constant", prepare_source<ConstantKernel, ConstantAttrs>};
  list[ops.size() + 3] = {"arange", prepare_source<ArangeKernel, ArangeAttrs>};
  return list;
}();

}  // namespace

cpu_kernels::Entries cpu_kernels::elementwise() { return entries; }

}  // namespace wick
