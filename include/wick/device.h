#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wick {

enum class DeviceKind : std::uint8_t { cpu, cuda };

/// Where a tensor's data lives and its ops run.
struct Device {
  DeviceKind kind = DeviceKind::cpu;
  std::int16_t index = 0;

  /// "cpu" or "cuda:0".
  std::string str() const;
  friend bool operator==(Device a, Device b) noexcept { return a.kind == b.kind && a.index == b.index; }
};

inline constexpr Device cpu{};

struct DeviceInfo {
  Device device;
  std::string name;            ///< the processor's own name
  std::string features;        ///< instruction sets or compute capability in use
  std::uint64_t memory_bytes;  ///< total memory
  int threads;                 ///< worker threads that a plan uses; 0 for a GPU
  std::string driver;          ///< version of a GPU's driver
};

/// Every device that this build can use on this machine.
std::vector<DeviceInfo> devices();

/// A sentence that says why there is no GPU among the devices, and what to do; empty when there is one.
std::string missing_gpu();

/// Parses "cpu", "cuda" or "cuda:N". Throws DeviceError that lists what there is when it is unknown or
/// absent.
Device device_from_name(std::string_view name);

/// Threads that CPU kernels use from now on, process-wide; at least 1, and no more than OMP_THREAD_LIMIT
/// allows are used. Throws ArgumentError for others than 1 to 4096.
void set_threads(int count);
int threads();

/// Whether f32 matrix products on a GPU may round their operands to TF32 (10 bits of mantissa), process-wide,
/// for plans that are made from now on. Off unless the environment has WICK_TF32=1.
void set_tf32(bool on);
bool tf32();

}  // namespace wick
