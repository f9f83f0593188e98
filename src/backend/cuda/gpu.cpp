#include "backend/cuda/gpu.h"

#include <cudaTypedefs.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "backend/cuda/backend.h"
#include "backend/cuda/check.h"

namespace wick::cuda {
namespace {

/// GPUs older than this have neither bf16 arithmetic nor asynchronous copies to shared memory.
constexpr int oldest_capability = 80;

int count_gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    return 0;
  }
  return count < most_gpus ? count : most_gpus;
}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "reading a GPU's attributes");
  return value;
}

int capability_of(int device) {
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
         attribute(cudaDevAttrComputeCapabilityMinor, device);
}

/// Whether this process has begun to use a GPU: choosing one begins it, and takes some of its memory.
bool is_in_use(int device) {
  static const auto state = reinterpret_cast<PFN_cuDevicePrimaryCtxGetState_v7000>(
      driver_function("cuDevicePrimaryCtxGetState", 7000));
  unsigned int flags = 0;
  int active = 0;
  return !state || state(device, &flags, &active) != CUDA_SUCCESS || active != 0;
}

/// CUDA versions as numbers, 12030 for 12.3; 0 without a driver.
int driver_version() {
  int version = 0;
  (void)cudaDriverGetVersion(&version);
  return version;
}

/// A driver of the build's major version runs its code; one for 12.3 also takes dependent launches into a
/// graph.
int oldest_driver() {
  int runtime = 0;
  (void)cudaRuntimeGetVersion(&runtime);
  return std::max(runtime / 1000 * 1000, 12030);
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

/// An attribute of the current GPU, read once: 0 is "not read yet".
int cached(std::array<std::atomic<int>, most_gpus>& values, int (*read)(int)) {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current GPU");
  auto& value = values[static_cast<std::size_t>(device)];
  if (value == 0) value = read(device);
  return value;
}

}  // namespace

GpuScope::GpuScope(int device) {
  check(cudaGetDevice(&previous_), "asking for the current GPU");
  changed_ = previous_ != device;
  if (changed_) check(cudaSetDevice(device), "choosing a GPU");
}
GpuScope::~GpuScope() {
  if (changed_ && is_in_use(previous_)) cudaSetDevice(previous_);
}

int compute_capability() {
  static std::array<std::atomic<int>, most_gpus> values{};
  return cached(values, capability_of);
}

bool runs_code_for_90() { return WICK_CUDA_CODE_FOR_90 && compute_capability() == 90; }

int multiprocessors() {
  static std::array<std::atomic<int>, most_gpus> values{};
  return cached(values, [](int device) { return attribute(cudaDevAttrMultiProcessorCount, device); });
}

std::string gpu_name() {
  static std::mutex mutex;
  static auto& names = *new std::array<std::string, most_gpus>;
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current GPU");
  std::lock_guard lock(mutex);
  std::string& name = names[static_cast<std::size_t>(device)];
  if (name.empty()) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "asking for the GPU's properties");
    name = properties.name;
  }
  return name;
}

void* driver_function(const char* name, unsigned int version) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &result);
  return status == cudaSuccess && result == cudaDriverEntryPointSuccess ? function : nullptr;
}

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> list;
  const int driver = driver_version();
  if (driver < oldest_driver()) return list;
  for (int i = 0; i < count_gpus(); ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess || capability_of(i) < oldest_capability)
      continue;
    list.push_back({Device{DeviceKind::cuda, static_cast<std::int16_t>(i)}, properties.name,
                    fmt::format("compute capability {}.{}", properties.major, properties.minor),
                    properties.totalGlobalMem, 0, "for CUDA " + version_text(driver)});
  }
  return list;
}

std::string problem() {
  if (!devices().empty()) return {};
  const int driver = driver_version();
  const std::string oldest = version_text(oldest_driver());
  if (driver == 0)
    return "No NVIDIA driver is loaded: install one for CUDA " + oldest +
           " or newer, and see whether nvidia-smi lists the GPU.";
  if (driver < oldest_driver())
    return fmt::format("The NVIDIA driver is for CUDA {}, this build needs one for CUDA {} or newer.",
                       version_text(driver), oldest);
  if (count_gpus() == 0)
    return "The NVIDIA driver is there but shows no GPU: see nvidia-smi and CUDA_VISIBLE_DEVICES.";
  return fmt::format("The GPUs here are older than compute capability {}.{}, the oldest that Wick uses.",
                     oldest_capability / 10, oldest_capability % 10);
}

}  // namespace wick::cuda
