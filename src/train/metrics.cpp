#include "train/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>

#include "io/atomic_file.h"
#include "io/read_file.h"
#include "io/system_error.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::string_view header = "step,epoch,loss,grad_norm,lr,tokens_per_second,peak_bytes,valid_loss";
constexpr std::size_t largest_file = std::size_t{1} << 30;

std::string csv_row(const StepMetrics& m) {
  return fmt::format("{},{},{},{},{},{},{},{}\n", m.step, m.epoch, m.loss, m.grad_norm, m.learning_rate,
                     m.tokens_per_second, m.peak_bytes, m.valid_loss ? fmt::format("{}", *m.valid_loss) : "");
}

/// Takes the fields of a line from the left; `failed` once one was not a number.
struct Fields {
  std::string_view rest;
  bool failed = false;

  template <typename T>
  void take(T& value) {
    const std::string_view field = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), field.size() + 1));
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    failed |= error != std::errc() || end != field.data() + field.size();
  }
};

std::optional<StepMetrics> parse_row(std::string_view line) {
  StepMetrics m;
  Fields fields{line};
  fields.take(m.step);
  fields.take(m.epoch);
  fields.take(m.loss);
  fields.take(m.grad_norm);
  fields.take(m.learning_rate);
  fields.take(m.tokens_per_second);
  fields.take(m.peak_bytes);
  if (!fields.rest.empty()) fields.take(m.valid_loss.emplace());
  if (fields.failed || !fields.rest.empty()) return std::nullopt;
  return m;
}

std::vector<StepMetrics> read_rows(const std::filesystem::path& path, std::int64_t last_step) {
  const std::string content = read_file(path, largest_file);
  std::vector<StepMetrics> rows;
  std::string_view rest = content;
  // Only a line with its end was written whole.
  for (std::size_t line_number = 1, end = 0; (end = rest.find('\n')) != std::string_view::npos;
       ++line_number) {
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line_number == 1) {
      if (line == header) continue;
      throw FormatError(
          fmt::format("{}: is not a table of metrics to continue; its first line must be {}. Move the "
                      "file away to resume without it",
                      path.string(), header));
    }
    const std::optional<StepMetrics> row = parse_row(line);
    if (!row)
      throw FormatError(fmt::format("{}:{}: is not a row of metrics; move the file away to resume without it",
                                    path.string(), line_number));
    if (row->step <= last_step) rows.push_back(*row);
  }
  return rows;
}

}  // namespace

std::string metrics_json(const StepMetrics& metrics) {
  nlohmann::ordered_json line{{"step", metrics.step},
                              {"loss", metrics.loss},
                              {"grad_norm", metrics.grad_norm},
                              {"lr", metrics.learning_rate},
                              {"tokens_per_second", metrics.tokens_per_second},
                              {"peak_bytes", metrics.peak_bytes}};
  if (metrics.valid_loss) line["valid_loss"] = *metrics.valid_loss;
  return line.dump();
}

MetricsWriter::MetricsWriter(std::filesystem::path path, std::int64_t resume_step) : path_(std::move(path)) {
  std::error_code unreadable;
  if (resume_step > 0 && std::filesystem::exists(path_, unreadable)) rows_ = read_rows(path_, resume_step);
  std::string content = fmt::format("{}\n", header);
  for (const StepMetrics& row : rows_) content += csv_row(row);
  write_file_atomically(path_, content);
  file_.reset(std::fopen(path_.c_str(), "ae"));
  if (!file_) throw_file_error("open", path_, errno);
}

void MetricsWriter::write(const StepMetrics& metrics) {
  const std::string row = csv_row(metrics);
  if (std::fwrite(row.data(), 1, row.size(), file_.get()) != row.size() || std::fflush(file_.get()) != 0)
    throw_file_error("write", path_, errno);
  rows_.push_back(metrics);
}

}  // namespace wick
