#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "wick/trainer.h"

namespace wick {

/// Keeps the metrics of a run in a CSV file: step, epoch, loss, grad_norm, lr, tokens_per_second, peak_bytes,
/// valid_loss (empty where none was measured), numbers with all their digits.
class MetricsWriter {
 public:
  /// Begins the file anew when `resume_step` is 0. Otherwise keeps what a former run wrote up to that step
  /// and goes on from there; later steps, and a last line cut off by a kill, are dropped. Throws FileError;
  /// FormatError that names the line when the file to continue is not one of these.
  MetricsWriter(std::filesystem::path path, std::int64_t resume_step);

  /// Adds a row, which reaches the operating system before this returns. Throws FileError.
  void write(const StepMetrics& metrics);
  /// Of this run and those that it resumes. Only the columns of the file are set.
  const std::vector<StepMetrics>& rows() const noexcept { return rows_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  std::filesystem::path path_;
  std::vector<StepMetrics> rows_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace wick
