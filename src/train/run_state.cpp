#include "train/run_state.h"

#include <fmt/format.h>

#include <limits>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/json.h"
#include "io/json_field.h"
#include "wick/error.h"

namespace wick {
namespace {

using nlohmann::json;

constexpr std::size_t largest_state = 16 << 20;
constexpr std::int64_t state_version = 1;

/// Checksum of all parameters: a run with another base would go on elsewhere.
std::string fingerprint(const Model& model) {
  Checksum checksum;
  std::vector<std::byte> bytes;
  for (const auto& [name, value] : model.parameters()) {
    const std::string title = name + " " + value.str();
    checksum.update(std::as_bytes(std::span(title)));
    bytes.resize(value.bytes());
    value.copy_bytes(bytes);
    checksum.update(bytes);
  }
  return checksum.hex();
}

/// Checksum of what a data set teaches, so that also another tokenizer or another split shows.
std::string fingerprint(const Dataset& data) {
  Checksum checksum;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const DatasetRow row = data.row(i);
    const std::uint64_t length = row.ids.size();
    checksum.update(std::as_bytes(std::span(&length, 1)));
    checksum.update(std::as_bytes(row.ids));
    checksum.update(std::as_bytes(row.labels));
  }
  return checksum.hex();
}

json optional_json(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

std::optional<double> optional_number(const JsonField& object, const std::string& key) {
  const auto field = object.find(key);
  return field ? std::optional(field->number()) : std::nullopt;
}

}  // namespace

json decisive_settings(const TrainOptions& options, std::int64_t total_steps, const Model& model,
                       const LoraAdapter* adapter, const Dataset& data, const Dataset* valid) {
  json settings = {
      {"batch_size", options.batch_size},
      {"grad_accumulation", options.grad_accumulation},
      {"seq_len", options.seq_len},
      {"learning_rate", options.learning_rate},
      {"schedule", options.schedule},
      {"warmup", options.warmup},
      {"beta1", options.adamw.beta1},
      {"beta2", options.adamw.beta2},
      {"eps", options.adamw.eps},
      {"weight_decay", options.adamw.weight_decay},
      {"max_grad_norm", options.max_grad_norm},
      {"label_smoothing", options.label_smoothing},
      {"seed", options.seed},
      {"full", options.full},
      {"shuffle", options.shuffle},
      {"packing", options.packing},
      {"eval_every", options.eval_every},
      {"patience", options.patience},
      {"data", fingerprint(data)},
      {"valid_data", valid ? fingerprint(*valid) : "none"},
  };
  if (options.schedule != "constant") settings["total_steps"] = total_steps;
  if (adapter) {
    settings["model"] = fingerprint(model);
    settings["adapter"] = json::parse(adapter->config().to_json());
    settings["adapter"].erase("base_model_name_or_path");
    settings["adapter"]["lora_dropout"] = adapter->config().dropout;
  }
  return settings;
}

void require_same_settings(const json& saved, const json& now, const std::filesystem::path& checkpoint) {
  const json old_values = saved.flatten();
  const json new_values = now.flatten();
  std::string differences;
  const auto text = [](const json& values, const std::string& key) {
    return values.contains(key) ? values[key].dump() : std::string("absent");
  };
  json keys = old_values;
  keys.update(new_values);
  for (const auto& [key, unused] : keys.items())
    if (const std::string before = text(old_values, key), after = text(new_values, key); before != after)
      differences += fmt::format("\n  {}: {} there, {} now", key.substr(1), before, after);
  if (!differences.empty())
    throw ConfigError(
        fmt::format("the run of {} began with other settings or data and cannot be continued with these:{}",
                    checkpoint.string(), differences));
}

void write_run_state(const std::filesystem::path& file, const RunState& state, const json& settings) {
  const json content = {
      {"version", state_version},
      {"step", state.step},
      {"optimizer_steps", state.optimizer_steps},
      {"epoch", state.position.epoch},
      {"batch_of_epoch", state.position.index},
      {"loss", state.loss},
      {"skipped", state.skipped},
      {"best_valid_loss", optional_json(state.best_valid_loss)},
      {"best_step", state.best_step},
      {"validations_without_gain", state.validations_without_gain},
      {"settings", settings},
  };
  write_file_atomically(file, content.dump(2) + "\n");
}

StoredRunState read_run_state(const std::filesystem::path& file) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const json content = read_json_file(file, largest_state);
  const JsonField root(content, file.string(), JsonField::throw_as<FormatError>);
  root.at("version").integer(state_version, state_version);
  if (!root.at("settings").is_object()) root.at("settings").refuse("must be an object");
  StoredRunState stored;
  stored.state.step = root.at("step").integer(0, most);
  stored.state.optimizer_steps = root.at("optimizer_steps").integer(0, most);
  stored.state.position.epoch = root.at("epoch").integer(0, most);
  stored.state.position.index = root.at("batch_of_epoch").integer(0, most);
  stored.state.loss = root.at("loss").number();
  stored.state.skipped = root.at("skipped").integer(0, most);
  stored.state.best_valid_loss = optional_number(root, "best_valid_loss");
  stored.state.best_step = root.at("best_step").integer(0, most);
  stored.state.validations_without_gain = root.at("validations_without_gain").integer(0, most);
  stored.settings = content["settings"];
  return stored;
}

}  // namespace wick
