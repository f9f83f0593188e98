#include "backend/cuda/elementwise_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backend/cpu/elementwise_tiles.h"
#include "core/rounding.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

/// The compute types that an op is defined on; `device/elementwise.cuh` has a function of the op's name.
enum class Domain { floats, numbers, all };

struct Known {
  std::string_view op;
  Domain domain;
};

constexpr std::array known_ops{
    Known{"exp", Domain::floats},        Known{"log", Domain::floats},
    Known{"sqrt", Domain::floats},       Known{"rsqrt", Domain::floats},
    Known{"sin", Domain::floats},        Known{"cos", Domain::floats},
    Known{"tanh", Domain::floats},       Known{"sigmoid", Domain::floats},
    Known{"erf", Domain::floats},        Known{"silu", Domain::floats},
    Known{"gelu", Domain::floats},       Known{"gelu_tanh", Domain::floats},
    Known{"div", Domain::floats},        Known{"neg", Domain::numbers},
    Known{"sign", Domain::numbers},      Known{"relu", Domain::numbers},
    Known{"clamp", Domain::numbers},     Known{"sub", Domain::numbers},
    Known{"pow", Domain::numbers},       Known{"abs", Domain::all},
    Known{"square", Domain::all},        Known{"add", Domain::all},
    Known{"mul", Domain::all},           Known{"minimum", Domain::all},
    Known{"maximum", Domain::all},       Known{"equal", Domain::all},
    Known{"not_equal", Domain::all},     Known{"less", Domain::all},
    Known{"less_equal", Domain::all},    Known{"greater", Domain::all},
    Known{"greater_equal", Domain::all}, Known{"logical_and", Domain::all},
    Known{"logical_or", Domain::all},    Known{"logical_not", Domain::all},
    Known{"is_finite", Domain::all},     Known{"where", Domain::all},
    Known{"cast", Domain::all},
};

/// The names of types in device/numbers.cuh, in the order of DType.
constexpr std::array<std::string_view, dtype_count> stored_names{
    "Bool", "unsigned char", "int", "long long", "F16", "Bf16", "float", "double"};

class Writer {
 public:
  Writer(const ElementwiseGroup& group, std::span<const ElementwiseResult> results,
         const ElementwiseShape& shape)
      : group_(group), results_(results), shape_(shape) {}

  ElementwiseSource write() {
    std::string body = function();
    source_.text = fmt::format(
        "#include \"backend/cuda/device/elementwise.cuh\"\n"
        "#include \"backend/cuda/device/launch_order.cuh\"\n"
        "using namespace wick::cuda;\nusing Index = {};\nusing Offset = OffsetOf<Index>::type;\n\n{}\n{}",
        shape_.large ? "unsigned long long" : "unsigned int", body,
        shape_.flat ? flat_loop() : strided_loop());
    if (shape_.members > 0) source_.text += member_struct();
    if (shape_.width > 1) source_.text += kernel("packed", shape_.width);
    source_.text += kernel("single", 1);
    return std::move(source_);
  }

  ElementwiseSource write_function() {
    source_.text = function();
    return std::move(source_);
  }

 private:
  std::size_t inputs() const { return group_.inputs.size(); }

  /// One part for each input, by its number.
  template <typename F>
  std::string each_input(const F& part) const {
    std::string all;
    for (std::size_t i = 0; i < inputs(); ++i) all += part(i);
    return all;
  }
  /// The same for each result.
  template <typename F>
  std::string each_result(const F& part) const {
    std::string all;
    for (std::size_t r = 0; r < results_.size(); ++r) all += part(r, stored_type(results_[r].dtype));
    return all;
  }
  std::string each_constant(std::string_view format) const {
    std::string all;
    for (std::size_t k = 0; k < source_.constants.size(); ++k)
      all += fmt::format(fmt::runtime(format), computed_type(source_.constants[k].dtype), k);
    return all;
  }

  std::string add_constant(DType dtype, double value) {
    source_.constants.push_back({compute_type(dtype), value});
    return fmt::format("k{}", source_.constants.size() - 1);
  }

  /// What the group computes, on one element.
  std::string function() {
    std::string lines;
    for (std::size_t i = 0; i < group_.instructions.size(); ++i) lines += instruction(i);
    std::string parameters = each_input(
        [&](std::size_t i) { return fmt::format("const {} v{}, ", computed_type(group_.inputs[i]), i); });
    parameters += each_constant("const {} k{}, ");
    for (std::size_t r = 0; r < results_.size(); ++r) {
      parameters += fmt::format("{}{}& r{}", r == 0 ? "" : ", ", computed_type(results_[r].dtype), r);
      lines += fmt::format("  r{} = v{};\n", r, results_[r].value);
    }
    return fmt::format("__device__ __forceinline__ void compute({}) {{\n{}}}\n", parameters, lines);
  }

  std::string instruction(std::size_t i) {
    const ElementwiseGroup::Instruction& part = group_.instructions[i];
    return fmt::format("  const {} v{} = {};\n", computed_type(part.dtype), inputs() + i, expression(part));
  }

  std::string expression(const ElementwiseGroup::Instruction& part) {
    if (part.operands.empty())
      return add_constant(part.dtype, rounded_to(part.attrs.as<ConstantAttrs>().value, part.dtype));
    std::string operands;
    for (std::uint32_t operand : part.operands)
      operands += fmt::format("{}v{}", operands.empty() ? "" : ", ", operand);
    if (part.op->name == "cast") {
      const std::string converted = fmt::format("convert<{}>({})", computed_type(part.dtype), operands);
      return compute_type(part.dtype) == part.dtype
                 ? converted
                 : fmt::format("rounded<{}>({})", stored_type(part.dtype), converted);
    }
    if (part.op->name == "clamp") {
      const auto limits = part.attrs.as<ClampAttrs>();
      for (double limit : {limits.low, limits.high}) operands += ", " + add_constant(part.dtype, limit);
    }
    return fmt::format("ops::{}({})", part.op->name, operands);
  }

  /// The parameters of a kernel; of a device function when those that are large are references.
  std::string parameters(std::string_view large = "const __grid_constant__ {}") const {
    const auto declare = [&](std::string_view type, std::string_view name) {
      return fmt::format(fmt::runtime(large), type) + fmt::format(" {}", name);
    };
    std::string list = shape_.flat ? "const Index count" : declare("Dims<Index>", "dims");
    if (!shape_.flat)
      list +=
          each_input([&](std::size_t i) { return ", " + declare("Steps<Index>", fmt::format("s{}", i)); });
    list += each_input(
        [&](std::size_t i) { return fmt::format(", const {}* x{}", stored_type(group_.inputs[i]), i); });
    list += each_result([](std::size_t r, auto type) { return fmt::format(", {}* y{}", type, r); });
    return list + each_constant(", const {} k{}");
  }
  std::string references() const { return parameters("const {}&"); }
  /// The same passed on.
  std::string arguments() const {
    std::string list = shape_.flat ? "count" : "dims";
    if (!shape_.flat) list += each_input([](std::size_t i) { return fmt::format(", s{}", i); });
    list += each_input([](std::size_t i) { return fmt::format(", x{}", i); });
    list += each_result([](std::size_t r, auto) { return fmt::format(", y{}", r); });
    return list + each_constant(", k{1}");
  }

  bool packs(std::size_t i) const { return i < shape_.packed.size() && shape_.packed[i]; }

  /// Computes `width` elements and stores them.
  std::string pack_loop(std::string_view to) const {
    std::string arguments = each_input([&](std::size_t i) {
      return packs(i) ? fmt::format("read(p{}.at[j]), ", i) : fmt::format("u{}, ", i);
    });
    arguments += each_constant("k{1}, ");
    const std::string packs = each_result(
        [](std::size_t r, auto type) { return fmt::format("    Pack<{}, width> q{};\n", type, r); });
    std::string declared;
    std::string filled;
    for (std::size_t r = 0; r < results_.size(); ++r) {
      declared += fmt::format("      {} r{};\n", computed_type(results_[r].dtype), r);
      filled += fmt::format("      q{0}.at[j] = written<{1}>(r{0});\n", r, stored_type(results_[r].dtype));
      arguments += fmt::format("{}r{}", r == 0 ? "" : ", ", r);
    }
    const std::string stores = each_result(
        [&](std::size_t r, auto) { return fmt::format("    store_pack(y{0} + {1}, q{0});\n", r, to); });
    return fmt::format(
        "{}#pragma unroll\n    for (int j = 0; j < width; ++j) {{\n{}      compute({});\n{}    }}\n{}", packs,
        declared, arguments, filled, stores);
  }

  /// Whole packs, and then what is left, one element a thread: a pack that might have fewer elements would be
  /// waited for before the next one is asked for. From the end, which the kernel ahead wrote last and which
  /// may still be in the L2; what is written last then is what the next one reads first.
  std::string flat_loop() const {
    const std::string uniform = each_input([&](std::size_t i) {
      return packs(i) ? std::string() : fmt::format("  const auto u{0} = read(x{0}[0]);\n", i);
    });
    const std::string loads = each_input([&](std::size_t i) {
      return packs(i) ? fmt::format("    const auto p{0} = load_pack<width>(x{0} + i);\n", i) : std::string();
    });
    return fmt::format(
        "template <int width>\n"
        "__device__ __forceinline__ void run_packs({0}, const Index begin, const Index packs) {{\n{1}"
        "  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;\n"
        "  for (Index p = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; p < packs; p += step) "
        "{{\n"
        "    const Index i = begin + (packs - 1 - p) * width;\n{2}{3}  }}\n}}\n"
        "template <int width>\n__device__ __forceinline__ void run({0}) {{\n"
        "  const Index whole = count - count % width;\n  run_packs<width>({4}, 0, whole / width);\n"
        "  if (whole < count) run_packs<1>({4}, whole, count - whole);\n}}\n",
        references(), uniform, loads, pack_loop("i"), arguments());
  }

  std::string strided_loop() const {
    std::string steps = each_input([](std::size_t i) { return fmt::format("&s{}, ", i); });
    steps.resize(steps.size() - 2);
    const std::string loads = each_input([&](std::size_t i) {
      return packs(i) ? fmt::format("    const auto p{0} = load_pack<width>(x{0} + at[{0}]);\n", i)
                      : fmt::format("    const auto u{0} = read(x{0}[at[{0}]]);\n", i);
    });
    return fmt::format(
        "template <int width>\n__device__ __forceinline__ void run({}) {{\n"
        "  const Steps<Index>* const steps[] = {{{}}};\n"
        "  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;\n"
        "  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < dims.count; i += "
        "step) {{\n"
        "    Offset at[{}];\n    offsets_at(dims, i, steps, at);\n{}{}  }}\n}}\n",
        references(), steps, inputs(), loads, pack_loop("i * width"));
  }

  /// What a member of a batch has of its own.
  std::string member_struct() const {
    std::string fields = each_input([&](std::size_t i) {
      return i < group_.shared ? std::string()
                               : fmt::format("  const {}* x{};\n", stored_type(group_.inputs[i]), i);
    });
    fields += each_result([](std::size_t r, auto type) { return fmt::format("  {}* y{};\n", type, r); });
    return fmt::format(
        "struct Member {{\n{}  unsigned long long count;\n}};\nstruct Members {{\n  Member at[{}];\n}};\n",
        fields, shape_.members);
  }

  std::string batch_kernel(std::string_view name, int width) const {
    std::string parameters = "const __grid_constant__ Members members";
    std::string arguments = "static_cast<Index>(m.count)";
    for (std::size_t i = 0; i < inputs(); ++i) {
      const bool shared = i < group_.shared;
      if (shared) parameters += fmt::format(", const {}* x{}", stored_type(group_.inputs[i]), i);
      arguments += fmt::format(", {}x{}", shared ? "" : "m.", i);
    }
    arguments += each_result([](std::size_t r, auto) { return fmt::format(", m.y{}", r); });
    return fmt::format(
        "\nextern \"C\" __global__ void __launch_bounds__(256) {}({}{}) {{\n  begin_in_order();\n"
        "  const Member& m = members.at[blockIdx.y];\n  run<{}>({}{});\n}}\n",
        name, parameters, each_constant(", const {} k{}"), width, arguments, each_constant(", k{1}"));
  }

  std::string kernel(std::string_view name, int width) const {
    if (shape_.members > 0) return batch_kernel(name, width);
    return fmt::format(
        "\nextern \"C\" __global__ void __launch_bounds__(256) {}({}) {{\n  begin_in_order();\n"
        "  run<{}>({});\n}}\n",
        name, parameters(), width, arguments());
  }

  const ElementwiseGroup& group_;
  std::span<const ElementwiseResult> results_;
  const ElementwiseShape& shape_;
  ElementwiseSource source_;
};

}  // namespace

bool has_elementwise_code(std::string_view op, DType operand) {
  const auto found =
      std::find_if(known_ops.begin(), known_ops.end(), [&](const Known& known) { return known.op == op; });
  if (found == known_ops.end()) return false;
  if (found->domain == Domain::floats) return is_floating(operand);
  return found->domain == Domain::all || operand != DType::bool_;
}

ElementwiseSource elementwise_source(const ElementwiseGroup& group,
                                     std::span<const ElementwiseResult> results,
                                     const ElementwiseShape& shape) {
  return Writer(group, results, shape).write();
}

ElementwiseSource elementwise_function(const ElementwiseGroup& group,
                                       std::span<const ElementwiseResult> results) {
  return Writer(group, results, {}).write_function();
}

std::string_view stored_type(DType dtype) { return stored_names[static_cast<std::size_t>(dtype)]; }
std::string_view computed_type(DType dtype) {
  return dtype == DType::bool_ ? "bool" : stored_type(compute_type(dtype));
}

}  // namespace wick::cuda
