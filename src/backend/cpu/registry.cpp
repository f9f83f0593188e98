#include <unordered_map>

#include "backend/cpu/kernels.h"
#include "core/allocate.h"
#include "wick/error.h"

namespace wick {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend() {
    using namespace cpu_kernels;
    for (Entries (*list)() : {&elementwise, &elementwise_group, &movement, &reduce, &argreduce, &cumsum,
                              &matmul, &indexing, &cpu_kernels::sort, &cpu_kernels::random, &softmax, &norm,
                              &rope, &attention, &cross_entropy, &linear_cross_entropy})
      for (const KernelEntry& entry : list()) entries_.emplace(entry.op, &entry);
  }
  std::string_view name() const override { return "cpu"; }
  const KernelEntry* find(const Op& op) const override {
    const auto it = entries_.find(op.name);
    return it == entries_.end() ? nullptr : it->second;
  }
  bool can_group(const Op& op, InputSpecs inputs, const Spec& output) const override {
    return cpu_kernels::can_group(op, inputs, output);
  }
  std::shared_ptr<Storage> allocate(std::size_t bytes) const override { return allocate_host(bytes); }

 private:
  std::unordered_map<std::string_view, const KernelEntry*> entries_;
};

}  // namespace

const Backend& backend_for(Device device) {
  static const CpuBackend& cpu_backend =
      *new CpuBackend;  // never destroyed: workers may outlive static objects
  if (device.kind == DeviceKind::cpu) return cpu_backend;
  throw DeviceError("this build has no backend for " + device.str() + "; it has cpu");
}

}  // namespace wick
