#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "wick/device.h"
#include "wick/dtype.h"

namespace wick::cli {

/// Flags of every command that computes.
struct ComputeOptions {
  std::string device = "cpu";
  int threads = 0;
  std::uint64_t memory_limit = 0;  // 0: none
  bool check_numerics = false;
  std::string profile;  // file of the trace, or empty

  void add_to(CLI::App& command);
  /// Runs a command's work with them on the device. A profile is written also when the work throws. Throws
  /// DeviceError, ArgumentError, FileError, and what the work throws.
  void run(const std::function<void(Device)>& work) const;

 private:
  Device apply() const;
};

/// Refuses a minus sign, which CLI11 wraps around for unsigned flags.
CLI::Validator not_negative();

/// A dtype flag's value as a floating dtype. Throws ArgumentError that names the flag.
DType parse_floating_dtype(const std::string& flag, const std::string& value);

/// Prints a line on standard output. Throws FileError when that fails (a full disk behind a
/// redirection).
void print_line(const std::string& line);

/// Prints a line on standard error, or nothing where that is closed or full.
void print_error_line(const std::string& line) noexcept;

}  // namespace wick::cli
