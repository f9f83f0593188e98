#include "backend/cuda/reduction_source.h"

#include <fmt/format.h>

namespace wick::cuda {

ElementwiseSource reduction_source(const ElementwiseGroup& group, std::string_view rule, bool large,
                                   int width, const std::vector<bool>& packed) {
  const std::uint32_t value = group.results[0];
  const DType dtype = group.dtype_of(value);
  const ElementwiseResult result{value, dtype};
  ElementwiseSource source = elementwise_function(group, std::span(&result, 1));
  std::string fields;
  std::string parameters;
  std::string members;
  std::string at;       // arguments of `compute` at some offsets
  std::string loads;    // of a pack
  std::string in_pack;  // arguments within a pack
  for (std::size_t i = 0; i < group.inputs.size(); ++i) {
    const std::string_view type = stored_type(group.inputs[i]);
    fields += fmt::format("  const {}* x{};\n", type, i);
    parameters += fmt::format(", const {}* x{}", type, i);
    members += fmt::format("{}x{}", members.empty() ? "" : ", ", i);
    at += fmt::format("read(x{0}[offsets[{0}]]), ", i);
    loads += packed[i] ? fmt::format("    const auto p{0} = load_pack<width>(x{0} + offsets[{0}] + r);\n", i)
                       : fmt::format("    const auto p{0} = read(x{0}[offsets[{0}]]);\n", i);
    in_pack += packed[i] ? fmt::format("read(p{}.at[j]), ", i) : fmt::format("p{}, ", i);
  }
  for (std::size_t k = 0; k < source.constants.size(); ++k) {
    const std::string_view type = computed_type(source.constants[k].dtype);
    fields += fmt::format("  {} k{};\n", type, k);
    parameters += fmt::format(", const {} k{}", type, k);
    members += fmt::format(", k{}", k);
    at += fmt::format("k{}, ", k);
    in_pack += fmt::format("k{}, ", k);
  }
  source.text = fmt::format(
      "#include \"backend/cuda/device/elementwise.cuh\"\n#include \"backend/cuda/device/reduce.cuh\"\n"
      "#include \"backend/cuda/device/launch_order.cuh\"\n"
      "using namespace wick::cuda;\nusing Index = {0};\nusing Offset = OffsetOf<Index>::type;\n"
      "using Value = {1};\nusing R = {2}{3}>;\nconstexpr int operands = {4};\n\n{5}\n"
      "struct Elements {{\n  static constexpr int width = {6};\n{7}"
      "  __device__ Value at(const Offset (&offsets)[operands]) const {{\n"
      "    Value made;\n    compute({8}made);\n    return made;\n  }}\n"
      "  __device__ Pack<Value, width> pack(const Offset (&offsets)[operands], long long r) const {{\n{9}"
      "    Pack<Value, width> made;\n#pragma unroll\n"
      "    for (int j = 0; j < width; ++j) compute({10}made.at[j]);\n    return made;\n  }}\n}};\n\n"
      "extern \"C\" __global__ void __launch_bounds__(256)\n"
      "    reduce(const __grid_constant__ Walks<Index, operands> walks, const Split split{11}, R::Result* "
      "out,\n"
      "           R::Total* totals) {{\n  begin_in_order();\n"
      "  reduce_part<R>(walks, split, Elements{{{12}}}, out, totals);\n}}\n\n"
      "extern \"C\" __global__ void __launch_bounds__(256)\n"
      "    combine(const R::Total* totals, long long parts, long long outputs, const Split split,\n"
      "            R::Result* out) {{\n  begin_in_order();\n  combine_totals<R>(totals, parts, outputs, "
      "split, out);\n}}\n",
      large ? "unsigned long long" : "unsigned int", computed_type(dtype), rule, stored_type(dtype),
      most_reduced_operands, source.text, width, fields, at, loads, in_pack, parameters, members);
  return source;
}

}  // namespace wick::cuda
