#include <cstring>
#include <limits>
#include <unordered_map>

#include "backend/cpu/kernels.h"
#include "core/allocate.h"

namespace wick {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend() {
    using namespace cpu_kernels;
    for (Entries (*list)() : {&elementwise,
                              &elementwise_group,
                              &elementwise_batch,
                              &movement,
                              &reduce,
                              &reduction_group,
                              &sum_of_squares,
                              &argreduce,
                              &cumsum,
                              &matmul,
                              &linears,
                              &cpu_kernels::thin_linear,
                              &lora,
                              &lora_projection,
                              &lora_gradient,
                              &indexing,
                              &cpu_kernels::sort,
                              &cpu_kernels::random,
                              &softmax,
                              &norm,
                              &rope,
                              &attention,
                              &cross_entropy,
                              &linear_cross_entropy})
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
  std::size_t most_group_results() const override { return 4; }
  std::shared_ptr<Storage> allocate(std::size_t bytes) const override { return allocate_host(bytes); }
  void upload(const void* host, std::byte* to, std::size_t bytes) const override {
    if (bytes > 0) std::memcpy(to, host, bytes);
  }
  void download(const std::byte* from, void* host, std::size_t bytes) const override {
    if (bytes > 0) std::memcpy(host, from, bytes);
  }
  std::unique_ptr<Program> make_program(std::span<const Step>, std::span<const BaseUse>) const override {
    return nullptr;
  }
  MemoryUse memory_use() const override {
    return {held_bytes(), kept_bytes(), peak_held_bytes(), std::numeric_limits<std::uint64_t>::max()};
  }
  void reset_peak() const override { reset_peak_held_bytes(); }
  void release_kept_memory() const override { release_kept_bytes(); }

 private:
  std::unordered_map<std::string_view, const KernelEntry*> entries_;
};

}  // namespace

const Backend& cpu_backend() {
  static const CpuBackend& backend = *new CpuBackend;  // never destroyed: workers may outlive static objects
  return backend;
}

}  // namespace wick
