#include <array>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "backend/cuda/allocator.h"
#include "backend/cuda/backend.h"
#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/program.h"
#include "backend/cuda/stream.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

class CurrentGpu final : public DeviceScope {
 public:
  explicit CurrentGpu(int device) : gpu_(device) {}

 private:
  GpuScope gpu_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int device) : device_(device) {
    for (kernels::Entries (*list)() : {&kernels::elementwise,
                                       &kernels::elementwise_batch,
                                       &kernels::sum_of_squares,
                                       &kernels::sources,
                                       &kernels::movement,
                                       &kernels::reduce,
                                       &kernels::reduction_group,
                                       &kernels::indexing,
                                       &kernels::random,
                                       &kernels::cumsum,
                                       &kernels::categorical,
                                       &kernels::sort,
                                       &kernels::softmax,
                                       &kernels::norm,
                                       &kernels::rope,
                                       &kernels::cross_entropy,
                                       &kernels::linear_cross_entropy,
                                       &kernels::matmul,
                                       &kernels::thin_linear,
                                       &kernels::linear_epilogue,
                                       &kernels::attention,
                                       &kernels::append_attention,
                                       &kernels::lora})
      for (const KernelEntry& entry : list()) entries_.emplace(entry.op, &entry);
  }
  std::string_view name() const override { return "cuda"; }
  std::unique_ptr<DeviceScope> use_device() const override { return std::make_unique<CurrentGpu>(device_); }
  const KernelEntry* find(const Op& op) const override {
    const auto it = entries_.find(op.name);
    return it == entries_.end() ? nullptr : it->second;
  }
  bool can_group(const Op& op, InputSpecs inputs, const Spec& output) const override {
    return kernels::can_group(op, inputs, output);
  }
  std::size_t most_group_results() const override { return 4; }
  std::shared_ptr<Storage> allocate(std::size_t bytes) const override {
    return allocator_of(device_).allocate(bytes);
  }
  void upload(const void* host, std::byte* to, std::size_t bytes) const override {
    if (bytes == 0) return;
    const GpuScope gpu(device_);
    check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream().handle()), "copying to the GPU");
    stream().synchronize();
  }
  void download(const std::byte* from, void* host, std::size_t bytes) const override {
    if (bytes == 0) return;
    const GpuScope gpu(device_);
    check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream().handle()),
          "copying from the GPU");
    stream().synchronize();
  }
  std::unique_ptr<Program> make_program(std::span<const Step> steps,
                                        std::span<const BaseUse> bases) const override {
    return std::make_unique<CudaProgram>(steps, bases, device_);
  }
  MemoryUse memory_use() const override { return allocator_of(device_).use(); }
  void reset_peak() const override { allocator_of(device_).reset_peak(); }
  void release_kept_memory() const override {
    const GpuScope gpu(device_);
    allocator_of(device_).release();
  }

 private:
  ThreadStream& stream() const { return ThreadStream::of(device_); }

  const int device_;
  std::unordered_map<std::string_view, const KernelEntry*> entries_;
};

}  // namespace

const Backend& backend(int index) {
  static std::mutex mutex;
  static auto& backends = *new std::array<std::unique_ptr<CudaBackend>, most_gpus>;  // never destroyed
  std::lock_guard lock(mutex);
  if (index < 0 || index >= most_gpus) throw DeviceError("there is no GPU number " + std::to_string(index));
  auto& found = backends[static_cast<std::size_t>(index)];
  if (!found) {
    (void)device_from_name("cuda:" + std::to_string(index));  // throws where it is not there
    found = std::make_unique<CudaBackend>(index);
  }
  return *found;
}

}  // namespace wick::cuda
