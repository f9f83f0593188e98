#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cuda/elementwise_source.h"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/runtime_module.h"
#include "backend/cuda/strided_shape.h"
#include "graph/elementwise_group.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;  // as the source says

StridedShape shape_of(const KernelRequest& request) {
  std::vector<Strides> strides;
  for (const Slot& input : request.inputs)
    strides.push_back(broadcast_strides(input.layout, request.output.shape()));
  return {request.output.shape(), strides};
}

/// How many elements a thread should read at once: 16 bytes of the narrowest type; fewer of long groups,
/// which would need too many registers.
int widest_pack(const KernelRequest& request, const std::vector<bool>& packed,
                std::span<const ElementwiseResult> results, std::size_t instructions) {
  std::size_t narrowest = 8;
  for (const ElementwiseResult& result : results) narrowest = std::min(narrowest, size_of(result.dtype));
  for (std::size_t i = 0; i < request.inputs.size(); ++i)
    if (packed[i]) narrowest = std::min(narrowest, size_of(request.inputs[i].dtype));
  std::size_t width = std::min<std::size_t>(8, 16 / narrowest);
  while (width > 1 && width * instructions > 512) width /= 2;
  return static_cast<int>(width);
}

/// Whether rows can be read `width` elements at once: they divide into packs, and begin at multiples.
bool packs_fit(const StridedShape& shape, const std::vector<bool>& packed, int width) {
  const auto dims = shape.dims();
  if (dims.back().size % width != 0) return false;
  for (const StridedShape::Dim& dim : dims.first(dims.size() - 1))
    for (std::size_t i = 0; i < packed.size(); ++i)
      if (packed[i] && dim.strides[i] % width != 0) return false;
  return true;
}

ElementwiseShape choose_shape(const KernelRequest& request, const StridedShape& shape,
                              std::span<const ElementwiseResult> results, std::size_t instructions) {
  ElementwiseShape chosen;
  chosen.packed.assign(request.inputs.size(), false);
  chosen.large = !shape.is_small();
  chosen.flat = shape.dims().size() <= 1;
  bool together = true;
  if (!shape.dims().empty()) {
    for (std::size_t i = 0; i < request.inputs.size(); ++i) {
      const std::int64_t stride = shape.dims().back().strides[i];
      chosen.packed[i] = stride == 1;
      together = together && (stride == 0 || stride == 1);
    }
  }
  chosen.flat = chosen.flat && together;
  if (together) {
    chosen.width = widest_pack(request, chosen.packed, results, instructions);
    while (!chosen.flat && chosen.width > 1 && !packs_fit(shape, chosen.packed, chosen.width))
      chosen.width /= 2;
  }
  if (chosen.width == 1 && !chosen.flat) chosen.packed.assign(request.inputs.size(), false);
  return chosen;
}

bool is_aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % std::min<std::size_t>(bytes, 16) == 0;
}

template <typename Index>
class ElementwiseKernel final : public Kernel {
 public:
  ElementwiseKernel(const KernelRequest& request, const ElementwiseGroup& group,
                    std::span<const ElementwiseResult> results, const StridedShape& shape,
                    const ElementwiseShape& chosen)
      : chosen_(chosen), count_(static_cast<Index>(shape.count())) {
    for (const Slot& input : request.inputs) input_bytes_.push_back(size_of(input.dtype));
    for (const ElementwiseResult& result : results) result_bytes_.push_back(size_of(result.dtype));
    const ElementwiseSource source = elementwise_source(group, results, chosen);
    for (const ElementwiseConstant& constant : source.constants)
      write_number(constant.value, constant.dtype, constants_.emplace_back().bytes.data());
    if (count_ == 0) return;
    if (!chosen.flat) {
      single_ = walk_of(shape, 1);
      if (chosen.width > 1) packed_ = walk_of(shape, chosen.width);
    }
    module_ = RuntimeModule::of(source.text);
  }

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    run_results(inputs, &output, nullptr);
  }
  void run_results(const void* const* inputs, void* const* results, void* /*scratch*/) const override {
    if (count_ == 0) return;
    const bool packs = can_pack(inputs, results);
    const Walk& walk = packs ? packed_ : single_;
    std::vector<const void*> arguments;
    arguments.reserve(1 + 2 * input_bytes_.size() + result_bytes_.size() + constants_.size());
    if (chosen_.flat) {
      arguments.push_back(&count_);
    } else {
      arguments.push_back(&walk.dims);
      for (const Steps<Index>& steps : walk.steps) arguments.push_back(&steps);
    }
    for (std::size_t i = 0; i < input_bytes_.size(); ++i) arguments.push_back(&inputs[i]);
    for (std::size_t r = 0; r < result_bytes_.size(); ++r) arguments.push_back(&results[r]);
    for (const Constant& constant : constants_) arguments.push_back(constant.bytes.data());
    const int width = packs ? chosen_.width : 1;
    const auto items = (static_cast<std::int64_t>(count_) + width - 1) / width;
    const auto kernel = module_->kernel(packs ? "packed" : "single");
    // New blocks keep the memory busier than rounds of the same ones, where a thread has nothing to do before
    // it reads.
    const unsigned int blocks =
        chosen_.flat ? blocks_for_all(items, block_threads) : blocks_for(items, block_threads);
    launch_kernel(kernel, {blocks, block_threads}, current_launch().stream, "an elementwise kernel",
                  arguments.data());
  }

 private:
  struct Walk {
    Dims<Index> dims;
    std::vector<Steps<Index>> steps;
  };
  struct Constant {
    alignas(8) std::array<std::byte, 8> bytes{};
  };

  Walk walk_of(const StridedShape& shape, int width) const {
    Walk walk{shape.template device_dims<Index>(width), {}};
    for (std::size_t i = 0; i < input_bytes_.size(); ++i)
      walk.steps.push_back(shape.template device_steps<Index>(i, width));
    return walk;
  }

  bool can_pack(const void* const* inputs, void* const* results) const {
    const auto width = static_cast<std::size_t>(chosen_.width);
    if (width == 1) return false;
    for (std::size_t r = 0; r < result_bytes_.size(); ++r)
      if (!is_aligned(results[r], width * result_bytes_[r])) return false;
    for (std::size_t i = 0; i < input_bytes_.size(); ++i)
      if (chosen_.packed[i] && !is_aligned(inputs[i], width * input_bytes_[i])) return false;
    return true;
  }

  ElementwiseShape chosen_;
  Index count_;
  std::vector<std::size_t> input_bytes_;
  std::vector<std::size_t> result_bytes_;
  std::vector<Constant> constants_;
  Walk single_;
  Walk packed_;
  std::shared_ptr<RuntimeModule> module_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request, const ElementwiseGroup& group) {
  const StridedShape shape = shape_of(request);
  std::vector<ElementwiseResult> results;
  for (std::uint32_t value : group.results) results.push_back({value, group.dtype_of(value)});
  const ElementwiseShape chosen = choose_shape(request, shape, results, group.instructions.size());
  if (chosen.large)
    return std::make_unique<ElementwiseKernel<unsigned long long>>(request, group, results, shape, chosen);
  return std::make_unique<ElementwiseKernel<unsigned int>>(request, group, results, shape, chosen);
}

std::unique_ptr<Kernel> prepare_group(const KernelRequest& request) {
  return prepare(request, *request.group);
}

/// A single op is a group of one instruction.
std::unique_ptr<Kernel> prepare_op(const KernelRequest& request) {
  ElementwiseGroup group;
  ElementwiseGroup::Instruction instruction{&request.op, request.attrs, request.output.dtype, {}};
  for (const Slot& input : request.inputs) {
    instruction.operands.push_back(static_cast<std::uint32_t>(group.inputs.size()));
    group.inputs.push_back(input.dtype);
  }
  group.instructions.push_back(std::move(instruction));
  group.results = {static_cast<std::uint32_t>(group.inputs.size())};
  return prepare(request, group);
}

bool has_code(const KernelRequest& request) {
  return has_elementwise_code(request.op.name, request.inputs.back().dtype);
}

constexpr auto entries = [] {
  constexpr std::array ops{
      "neg",  "abs",        "sign",      "exp",           "log",         "sqrt",       "rsqrt",
      "sin",  "cos",        "tanh",      "sigmoid",       "erf",         "square",     "relu",
      "silu", "gelu",       "gelu_tanh", "logical_not",   "is_finite",   "add",        "sub",
      "mul",  "div",        "pow",       "minimum",       "maximum",     "equal",      "not_equal",
      "less", "less_equal", "greater",   "greater_equal", "logical_and", "logical_or", "where",
      "cast", "clamp"};
  std::array<KernelEntry, ops.size() + 1> list{};
  for (std::size_t i = 0; i < ops.size(); ++i)
    list[i] = {ops[i], prepare_op, InputLayouts::strided, true, has_code};
  list[ops.size()] = {"elementwise_group", prepare_group, InputLayouts::strided, true};
  return list;
}();

}  // namespace

kernels::Entries kernels::elementwise() { return entries; }

bool kernels::can_group(const Op& op, InputSpecs inputs, const Spec& /*output*/) {
  return !inputs.empty() && has_elementwise_code(op.name, inputs.back().dtype);
}

}  // namespace wick::cuda
