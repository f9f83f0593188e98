#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cuda/elementwise_source.h"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/runtime_module.h"
#include "graph/elementwise_group.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;  // as the source says
/// What the members may take of the 4 KiB of a kernel's arguments.
constexpr std::size_t member_bytes = 3584;
/// Members of more elements are launched by themselves: the grid of a launch is as wide as its largest one.
constexpr std::int64_t many_elements = 1 << 20;

/// The program of a group for many members with few launches: a row of the grid for each member.
class BatchKernel final : public Kernel {
 public:
  explicit BatchKernel(const KernelRequest& request)
      : shared_(request.group->shared),
        own_(request.group->inputs.size() - shared_),
        results_(request.group->results.size()),
        words_(batch_member_words(*request.group)),
        most_members_(member_bytes / (words_ * sizeof(std::uint64_t))) {
    const ElementwiseGroup& group = *request.group;
    std::vector<ElementwiseResult> results;
    std::size_t narrowest = 8;
    for (std::uint32_t value : group.results) {
      results.push_back({value, group.dtype_of(value)});
      narrowest = std::min(narrowest, size_of(results.back().dtype));
    }
    ElementwiseShape shape;
    shape.flat = true;
    shape.members = most_members_;
    for (std::size_t k = 0; k < group.inputs.size(); ++k) {
      shape.packed.push_back(k >= shared_);
      if (k >= shared_) narrowest = std::min(narrowest, size_of(group.inputs[k]));
    }
    width_ = static_cast<int>(std::min<std::size_t>(4, 16 / narrowest));
    shape.width = width_;
    for (std::size_t m = 0; m < group.members(request.inputs.size()); ++m) {
      counts_.push_back(request.inputs[group.input_of(m, shared_)].shape().elements());
      shape.large = shape.large || counts_.back() > most_small;
    }
    order_.resize(counts_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_partition(order_.begin(), order_.end(),
                          [&](std::size_t m) { return counts_[m] > many_elements; });
    const ElementwiseSource source = elementwise_source(group, results, shape);
    for (const ElementwiseConstant& constant : source.constants)
      write_number(constant.value, constant.dtype, constants_.emplace_back().bytes.data());
    module_ = RuntimeModule::of(source.text);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    run_results(inputs, &output, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    for (std::size_t begin = 0; begin < order_.size();) {
      std::size_t end = begin + 1;
      if (counts_[order_[begin]] <= many_elements) end = std::min(order_.size(), begin + most_members_);
      launch(std::span(order_).subspan(begin, end - begin), inputs, outputs);
      begin = end;
    }
  }

 private:
  static constexpr std::int64_t most_small = 1LL << 30;
  struct Constant {
    alignas(8) std::array<std::byte, 8> bytes{};
  };

  void launch(std::span<const std::size_t> members, const void* const* inputs, void* const* outputs) const {
    std::array<std::uint64_t, member_bytes / sizeof(std::uint64_t)> words{};
    std::int64_t most = 0;
    std::uint64_t addresses = 0;
    std::size_t at = 0;
    const auto put = [&](const void* address) {
      words[at] = reinterpret_cast<std::uintptr_t>(address);
      addresses |= words[at++];
    };
    for (std::size_t m : members) {
      for (std::size_t k = 0; k < own_; ++k) put(inputs[shared_ + m * own_ + k]);
      for (std::size_t r = 0; r < results_; ++r) put(outputs[m * results_ + r]);
      words[at++] = static_cast<std::uint64_t>(counts_[m]);
      most = std::max(most, counts_[m]);
    }
    if (most == 0) return;
    const bool packs = width_ > 1 && addresses % 16 == 0;
    std::vector<const void*> arguments{words.data()};
    for (std::size_t k = 0; k < shared_; ++k) arguments.push_back(&inputs[k]);
    for (const Constant& constant : constants_) arguments.push_back(constant.bytes.data());
    const dim3 blocks(blocks_for((most + width_ - 1) / width_, block_threads),
                      static_cast<unsigned int>(members.size()));
    launch_kernel(module_->kernel(packs ? "packed" : "single"), {blocks, block_threads},
                  current_launch().stream, "an elementwise kernel", arguments.data());
  }

  std::size_t shared_;
  std::size_t own_;
  std::size_t results_;
  std::size_t words_;
  std::size_t most_members_;
  int width_ = 1;
  std::vector<std::int64_t> counts_;
  std::vector<std::size_t> order_;  // the large members first
  std::vector<Constant> constants_;
  std::shared_ptr<RuntimeModule> module_;
};

constexpr std::array entries{KernelEntry{"elementwise_batch",
                                         [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
                                           return std::make_unique<BatchKernel>(request);
                                         },
                                         InputLayouts::contiguous, true}};

}  // namespace

kernels::Entries kernels::elementwise_batch() { return entries; }

}  // namespace wick::cuda
