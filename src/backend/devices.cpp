#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "backend/cuda/backend.h"
#include "backend/threads.h"
#include "wick/device.h"
#include "wick/error.h"

namespace wick {
namespace {

std::atomic<int> configured_threads{omp_get_max_threads()};
std::atomic<bool> tf32_on{[] {
  const char* wish = std::getenv("WICK_TF32");
  return wish && std::string_view(wish) == "1";
}()};
thread_local int scoped_threads = 0;  // 0: the configured number

/// The value of the first "key : value" line of /proc/cpuinfo with this key; empty when there is none.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return {};
}

/// Those instruction sets that kernels make use of, of the processor's list.
std::string vector_features() {
  std::istringstream flags(cpuinfo("flags"));
  std::string found;
  for (std::string flag; flags >> flag;)
    if (flag == "avx2" || flag == "fma" || flag == "avx512f" || flag == "avx512_bf16" || flag == "amx_bf16")
      found += (found.empty() ? "" : " ") + flag;
  return found;
}

}  // namespace

std::string Device::str() const { return kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(index); }

std::vector<DeviceInfo> devices() {
  std::string name = cpuinfo("model name");
  if (name.empty()) name = "unknown processor";
  const auto pages = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGE_SIZE));
  std::vector<DeviceInfo> list{{cpu, name, vector_features(), pages * page, threads(), ""}};
  for (DeviceInfo& gpu : cuda::devices()) list.push_back(std::move(gpu));
  return list;
}

std::string missing_gpu() { return cuda::problem(); }

Device device_from_name(std::string_view name) {
  std::string known;
  for (const DeviceInfo& info : devices()) {
    const std::string full = info.device.str();
    if (full == name || (name == "cuda" && full == "cuda:0")) return info.device;
    known += (known.empty() ? "" : ", ") + full;
  }
  const std::string why = name.starts_with("cuda") ? missing_gpu() : "";
  throw DeviceError("there is no device \"" + std::string(name) + "\" here; there is: " + known +
                    (why.empty() ? "" : ". " + why));
}

void set_threads(int count) {
  if (count < 1 || count > 4096)
    throw ArgumentError("the number of threads must be between 1 and 4096, not " + std::to_string(count));
  configured_threads = count;
}

int threads() { return scoped_threads != 0 ? scoped_threads : configured_threads.load(); }

void set_tf32(bool on) { tf32_on = on; }
bool tf32() { return tf32_on; }

void use_configured_threads() noexcept {
  // oneDNN's products are wrong where the OpenMP runtime grants fewer threads than it was asked for.
  const int count = std::min(threads(), omp_get_thread_limit());
  if (omp_get_max_threads() != count) omp_set_num_threads(count);
  if (omp_get_dynamic()) omp_set_dynamic(0);
}

ThreadsScope::ThreadsScope(int count) noexcept : previous_(scoped_threads) {
  if (count != 0) scoped_threads = count;
}

ThreadsScope::~ThreadsScope() { scoped_threads = previous_; }

}  // namespace wick
