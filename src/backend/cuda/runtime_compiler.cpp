#include "backend/cuda/runtime_compiler.h"

#include <fmt/format.h>
#include <nvrtc.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backend/cuda/binary_cache.h"
#include "backend/cuda/runtime_headers.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

void check(nvrtcResult result, const char* doing) {
  if (result != NVRTC_SUCCESS)
    throw InternalError(fmt::format("NVRTC failed in {}: {}", doing, nvrtcGetErrorString(result)));
}

/// What to compile for: the GPU itself ("sm_90"), or, for one that this NVRTC does not know, the newest that
/// it knows, in a form that the driver translates ("compute_90").
std::string target_for(int capability) {
  int count = 0;
  check(nvrtcGetNumSupportedArchs(&count), "listing architectures");
  std::vector<int> known(static_cast<std::size_t>(count));
  check(nvrtcGetSupportedArchs(known.data()), "listing architectures");
  int newest = 0;
  for (int one : known)
    if (one <= capability) newest = std::max(newest, one);
  return fmt::format("{}_{}", newest == capability ? "sm" : "compute", newest);
}

struct ProgramDeleter {
  void operator()(nvrtcProgram program) const { nvrtcDestroyProgram(&program); }
};

/// Reads one of NVRTC's texts or binaries, which are asked for their size first.
template <typename Size, typename Get>
std::string result_of(nvrtcProgram program, Size size_of_it, Get get) {
  std::size_t size = 0;
  check(size_of_it(program, &size), "reading a result");
  std::string bytes(size, '\0');
  check(get(program, bytes.data()), "reading a result");
  return bytes;
}

std::string compile_now(const std::string& source, const std::string& target) {
  std::array<const char*, runtime_headers.size()> texts{};
  std::array<const char*, runtime_headers.size()> names{};
  for (std::size_t i = 0; i < runtime_headers.size(); ++i) {
    texts[i] = runtime_headers[i].text;
    names[i] = runtime_headers[i].name;
  }
  nvrtcProgram made = nullptr;
  check(nvrtcCreateProgram(&made, source.c_str(), "wick.cu", static_cast<int>(texts.size()), texts.data(),
                           names.data()),
        "creating a program");
  const std::unique_ptr<std::remove_pointer_t<nvrtcProgram>, ProgramDeleter> program(made);
  const std::string architecture = "--gpu-architecture=" + target;
  const std::array options{architecture.c_str(), "--std=c++17", "--fmad=false"};
  if (nvrtcCompileProgram(made, static_cast<int>(options.size()), options.data()) != NVRTC_SUCCESS)
    throw InternalError(fmt::format("a kernel does not compile for {}:\n{}\n{}", target,
                                    result_of(made, nvrtcGetProgramLogSize, nvrtcGetProgramLog), source));
  return target.starts_with("sm") ? result_of(made, nvrtcGetCUBINSize, nvrtcGetCUBIN)
                                  : result_of(made, nvrtcGetPTXSize, nvrtcGetPTX);
}

}  // namespace

std::string compile(const std::string& source, int capability) {
  int major = 0;
  int minor = 0;
  check(nvrtcVersion(&major, &minor), "asking for its version");
  const std::string target = target_for(capability);
  std::string made_from = fmt::format("NVRTC {}.{} {}\n", major, minor, target);
  for (const RuntimeHeader& header : runtime_headers) made_from += header.text;
  made_from += source;
  if (auto binary = read_cached_binary(made_from)) return *std::move(binary);
  std::string binary = compile_now(source, target);
  write_cached_binary(made_from, binary);
  return binary;
}

}  // namespace wick::cuda
