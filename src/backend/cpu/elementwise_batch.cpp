#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backend/cpu/elementwise_group.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "graph/elementwise_group.h"

namespace wick {
namespace {

/// The program of a group for each member. Members that keep all threads busy run one after the other, the
/// rest side by side.
class BatchKernel final : public Kernel {
 public:
  explicit BatchKernel(const KernelRequest& request)
      : shared_(request.group->shared),
        own_(request.group->inputs.size() - shared_),
        results_(request.group->results.size()) {
    const std::size_t members = request.group->members(request.inputs.size());
    for (std::size_t m = 0; m < members; ++m) {
      std::vector<Slot> inputs(request.inputs.begin(),
                               request.inputs.begin() + static_cast<std::ptrdiff_t>(shared_));
      for (std::size_t k = 0; k < own_; ++k)
        inputs.push_back(request.inputs[request.group->input_of(m, shared_ + k)]);
      const Shape& shape = inputs[shared_].shape();
      (shape.elements() < many_elements ? small_ : large_).push_back(m);
      kernels_.push_back(group_kernel(*request.group, inputs, shape));
    }
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    run_results(inputs, &output, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    for (std::size_t member : large_) run_member(member, inputs, outputs);
    parallel_for(static_cast<std::int64_t>(small_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        run_member(small_[static_cast<std::size_t>(i)], inputs, outputs);
    });
  }

 private:
  static constexpr std::int64_t many_elements = 1 << 18;
  static constexpr std::size_t most_inputs = ElementwiseProgram::max_registers;

  void run_member(std::size_t member, const void* const* inputs, void* const* outputs) const {
    std::array<const void*, most_inputs> own{};
    std::copy_n(inputs, shared_, own.begin());
    std::copy_n(inputs + shared_ + member * own_, own_, own.begin() + static_cast<std::ptrdiff_t>(shared_));
    kernels_[member]->run(own.data(), outputs + member * results_);
  }

  std::size_t shared_;
  std::size_t own_;
  std::size_t results_;
  std::vector<std::unique_ptr<ElementwiseKernel>> kernels_;
  std::vector<std::size_t> small_;
  std::vector<std::size_t> large_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<BatchKernel>(request);
}

constexpr std::array entries{KernelEntry{"elementwise_batch", prepare, InputLayouts::contiguous, true}};

}  // namespace

cpu_kernels::Entries cpu_kernels::elementwise_batch() { return entries; }

}  // namespace wick
