#include "cli/options.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "wick/device.h"
#include "wick/error.h"
#include "wick/memory.h"
#include "wick/numerics.h"
#include "wick/profile.h"

namespace wick::cli {

void ComputeOptions::add_to(CLI::App& command) {
  command
      .add_option("--device", device, "Device to compute on: cpu, cuda, cuda:1; `wick devices` lists them")
      ->capture_default_str();
  command.add_option("--threads", threads, "Threads to compute with (default: all cores)");
  command
      .add_option("--memory-limit", memory_limit,
                  "Refuse work that would hold more memory than this, e.g. 2GB (mapped weights do not count)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option(
      "--profile", profile,
      "Write a trace of recording, planning and every step to this file (for ui.perfetto.dev), "
      "and a summary to standard error");
  command.add_flag("--check-numerics", check_numerics,
                   "Stop at the first op that computes NaN or infinity, and name it (slower; for debugging)");
}

void ComputeOptions::run(const std::function<void(Device)>& work) const {
  const Device chosen = apply();
  if (profile.empty()) {
    work(chosen);
    return;
  }
  const std::filesystem::path directory = std::filesystem::path(profile).parent_path();
  if (!directory.empty() && !std::filesystem::is_directory(directory))
    throw FileError(fmt::format("--profile: there is no directory {}", directory.string()));
  Profiler profiler;
  const auto write = [&] {
    const Profile done = profiler.stop();
    done.write(profile);
    print_error_line(done.summary());
  };
  try {
    work(chosen);
  } catch (...) {
    try {
      write();
    } catch (const Error& e) {  // the work's error is the one to end with
      print_error_line(fmt::format("wick: error: {}", e.what()));
    }
    throw;
  }
  write();
}

Device ComputeOptions::apply() const {
  const Device chosen = device_from_name(device);
  if (threads != 0) set_threads(threads);
  if (memory_limit != 0) set_memory_limit(memory_limit);
  if (check_numerics) set_numeric_checks(true);
  return chosen;
}

CLI::Validator not_negative() {
  return {[](std::string& value) {
            return value.starts_with('-') ? fmt::format("must not be negative, but is {}", value)
                                          : std::string();
          },
          ""};
}

DType parse_floating_dtype(const std::string& flag, const std::string& value) {
  if (value != "f32" && value != "bf16" && value != "f16")
    throw ArgumentError(fmt::format("{} must be f32, bf16 or f16, not \"{}\"", flag, value));
  return dtype_from_name(value);
}

void print_line(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fputc('\n', stdout) == EOF ||
      std::fflush(stdout) != 0)
    throw FileError("cannot write to standard output");
}

void print_error_line(const std::string& line) noexcept {
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

}  // namespace wick::cli
