#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "train/batches.h"
#include "wick/trainer.h"

namespace wick {

/// Where a run stands, beside its weights and optimizer moments. The schedule, the order of the data and the
/// random numbers are functions of the settings and of these counters, so that nothing else needs to be kept.
struct RunState {
  std::int64_t step = 0;             ///< optimizer steps done, those that were skipped included
  std::int64_t optimizer_steps = 0;  ///< updates made
  BatchPosition position;            ///< in the data
  double loss = 0;                   ///< of the last step
  std::int64_t skipped = 0;          ///< steps without a single target
  std::optional<double> best_valid_loss;
  std::int64_t best_step = 0;
  std::int64_t validations_without_gain = 0;
};

/// All that decides the numbers of a run. A run may only be continued with the settings that it began with.
/// `total_steps` is left out where the schedule does not depend on it, so that such a run can be prolonged.
nlohmann::json decisive_settings(const TrainOptions& options, std::int64_t total_steps, const Model& model,
                                 const LoraAdapter* adapter, const Dataset& data, const Dataset* valid);
/// Throws ConfigError that lists every setting that differs, with both values.
void require_same_settings(const nlohmann::json& saved, const nlohmann::json& now,
                           const std::filesystem::path& checkpoint);

void write_run_state(const std::filesystem::path& file, const RunState& state,
                     const nlohmann::json& settings);
struct StoredRunState {
  RunState state;
  nlohmann::json settings;
};
/// Throws FileError, FormatError.
StoredRunState read_run_state(const std::filesystem::path& file);

}  // namespace wick
