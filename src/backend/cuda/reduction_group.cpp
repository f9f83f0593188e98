#include "ops/reduction_group.h"

#include <algorithm>
#include <array>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/reduce_split.h"
#include "backend/cuda/reduction_source.h"
#include "backend/cuda/runtime_module.h"
#include "backend/reduction_request.h"

namespace wick::cuda {
namespace {

std::string_view rule_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum: return "SumOf<";
    case Reduction::max: return "ExtremumOf<true, ";
    case Reduction::min: break;
  }
  return "ExtremumOf<false, ";
}

std::vector<Strides> strides_of(const KernelRequest& request) {
  const Shape shape = shape_of_elements(request);
  std::vector<Strides> strides;
  for (const Slot& input : request.inputs) strides.push_back(broadcast_strides(input.layout, shape));
  return strides;
}

/// 16 bytes of the narrowest input; fewer elements of long groups, which would need too many registers.
std::int64_t pack_width(const KernelRequest& request) {
  std::size_t narrowest = 8;
  for (const Slot& input : request.inputs) narrowest = std::min(narrowest, size_of(input.dtype));
  std::size_t width = std::min<std::size_t>(8, 16 / narrowest);
  while (width > 1 && width * request.group->instructions.size() > 128) width /= 2;
  return static_cast<std::int64_t>(width);
}

template <typename Index>
class ReductionGroupKernel final : public Kernel {
 public:
  ReductionGroupKernel(const KernelRequest& request, const ReduceSplit& split, std::int64_t width)
      : split_(split) {
    if (split_.outputs() == 0) return;
    std::vector<bool> packed;
    for (std::size_t k = 0; k < request.inputs.size(); ++k) {
      packed.push_back(split_.may_pack && split_.reduced.dims()[0].strides[k] == 1);
      if (packed[k])
        pack_bytes_.push_back({k, static_cast<std::size_t>(width) * size_of(request.inputs[k].dtype)});
    }
    const auto attrs = request.attrs.as<ReductionGroupAttrs>();
    const ElementwiseSource source = reduction_source(*request.group, rule_of(attrs.reduction),
                                                      sizeof(Index) > 4, static_cast<int>(width), packed);
    for (const ElementwiseConstant& constant : source.constants)
      write_number(constant.value, constant.dtype, constants_.emplace_back().bytes.data());
    inputs_ = request.inputs.size();
    walks_ = split_.walks<Index, most_reduced_operands>();
    module_ = RuntimeModule::of(source.text);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(split_.totals()) * sizeof(double);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (split_.outputs() == 0) return;
    Split split = split_.split;
    split.packs =
        split_.may_pack && std::all_of(pack_bytes_.begin(), pack_bytes_.end(), [&](const auto& pack) {
          return reinterpret_cast<std::uintptr_t>(inputs[pack.input]) %
                     std::min<std::size_t>(pack.bytes, 16) ==
                 0;
        });
    std::vector<const void*> arguments{&walks_, &split};
    for (std::size_t i = 0; i < inputs_; ++i) arguments.push_back(&inputs[i]);
    for (const Constant& constant : constants_) arguments.push_back(constant.bytes.data());
    arguments.push_back(&output);
    arguments.push_back(&scratch);
    launch("reduce", dim3(split_.blocks(), static_cast<unsigned>(split_.parts)), arguments);
    if (split_.parts == 1) return;
    const Split over = split_.over_parts();
    const long long parts = split_.parts;
    const long long outputs = split_.outputs();
    launch("combine", dim3(split_.combining_blocks()), {&scratch, &parts, &outputs, &over, &output});
  }

 private:
  struct Constant {
    alignas(8) std::array<std::byte, 8> bytes{};
  };
  struct InputPack {
    std::size_t input;
    std::size_t bytes;
  };

  void launch(const char* name, dim3 blocks, const std::vector<const void*>& arguments) const {
    launch_kernel(module_->kernel(name), {blocks, reduce_threads}, current_launch().stream, "a reduction",
                  arguments.data());
  }

  ReduceSplit split_;
  Walks<Index, most_reduced_operands> walks_{};
  std::size_t inputs_ = 0;
  std::vector<InputPack> pack_bytes_;
  std::vector<Constant> constants_;
  std::shared_ptr<RuntimeModule> module_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  const std::int64_t width = pack_width(request);
  const ReduceSplit split(shape_of_elements(request), strides_of(request),
                          request.attrs.as<ReductionGroupAttrs>().axes.axes, width);
  if (split.is_small()) return std::make_unique<ReductionGroupKernel<unsigned int>>(request, split, width);
  return std::make_unique<ReductionGroupKernel<unsigned long long>>(request, split, width);
}

bool supports(const KernelRequest& request) { return request.inputs.size() <= most_reduced_operands; }

constexpr KernelEntry entries[] = {
    {.op = "reduction_group", .prepare = prepare, .layouts = InputLayouts::strided, .supports = supports},
};

}  // namespace

kernels::Entries kernels::reduction_group() { return entries; }

}  // namespace wick::cuda
