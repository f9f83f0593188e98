#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "wick/error.h"
#include "wick/lora_config.h"
#include "wick/model_config.h"
#include "wick/safetensors.h"

namespace wick::cli {
namespace {

struct InspectFlags {
  std::string directory;
  bool tensors = false;
  bool json = false;
};

std::string human_bytes(std::uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

/// What a set of tensors amounts to.
nlohmann::json summarize(std::span<const TensorInfo> tensors, bool list) {
  std::uint64_t bytes = 0;
  std::int64_t parameters = 0;
  std::map<std::string, std::int64_t> dtypes;
  auto listed = nlohmann::json::array();
  for (const TensorInfo& t : tensors) {
    bytes += t.bytes.size();
    parameters += t.shape.elements();
    dtypes[std::string(name_of(t.dtype))] += t.shape.elements();
    if (list)
      listed.push_back({{"name", t.name},
                        {"dtype", name_of(t.dtype)},
                        {"shape", std::vector<std::int64_t>(t.shape.dims().begin(), t.shape.dims().end())}});
  }
  nlohmann::json result{
      {"tensors", tensors.size()}, {"parameters", parameters}, {"bytes", bytes}, {"dtypes", dtypes}};
  if (list) result["list"] = listed;
  return result;
}

nlohmann::json inspect_adapter(const std::filesystem::path& directory, bool list) {
  const LoraConfig config = LoraConfig::from_file(directory / "adapter_config.json");
  const Safetensors file = Safetensors::open(directory / "adapter_model.safetensors");
  nlohmann::json result{
      {"kind", "adapter"}, {"type", "lora"}, {"config", nlohmann::json::parse(config.to_json())}};
  result["weights"] = summarize(file.tensors(), list);
  return result;
}

nlohmann::json inspect_model(const std::filesystem::path& directory, bool list) {
  const ModelConfig config = ModelConfig::from_file(directory / "config.json");
  nlohmann::json result{{"kind", "model"}, {"config", nlohmann::json::parse(config.to_json())}};
  const Safetensors weights = open_model_weights(directory);
  result["weights"] = summarize(weights.tensors(), list);
  return result;
}

void print_readable(const nlohmann::json& what) {
  const nlohmann::json& config = what["config"];
  const nlohmann::json& weights = what["weights"];
  const auto row = [](const std::string& name, const std::string& value) {
    print_line(fmt::format("{:<18} {}", name, value));
  };
  const auto config_row = [&](const char* label, const char* key) {
    if (config.contains(key) && !config[key].is_null())
      row(label, config[key].is_string() ? config[key].get<std::string>() : config[key].dump());
  };
  if (what["kind"] == "adapter") {
    row("kind", "LoRA adapter");
    config_row("base model", "base_model_name_or_path");
    config_row("rank", "r");
    config_row("alpha", "lora_alpha");
    config_row("rsLoRA", "use_rslora");
    config_row("target modules", "target_modules");
  } else {
    row("kind", "model");
    config_row("architecture", "architectures");
    config_row("layers", "num_hidden_layers");
    config_row("hidden size", "hidden_size");
    config_row("intermediate size", "intermediate_size");
    config_row("heads", "num_attention_heads");
    config_row("key/value heads", "num_key_value_heads");
    config_row("head size", "head_dim");
    config_row("vocabulary", "vocab_size");
    config_row("positions", "max_position_embeddings");
    config_row("sliding window", "sliding_window");
    config_row("tied embeddings", "tie_word_embeddings");
  }
  row("parameters", fmt::format("{} in {} tensors", weights["parameters"].get<std::int64_t>(),
                                weights["tensors"].get<std::int64_t>()));
  std::string dtypes;
  for (const auto& [name, count] : weights["dtypes"].items()) dtypes += (dtypes.empty() ? "" : ", ") + name;
  row("dtype", dtypes);
  row("size", human_bytes(weights["bytes"].get<std::uint64_t>()));
  if (weights.contains("list"))
    for (const auto& t : weights["list"])
      print_line(fmt::format("  {:<60} {:<5} {}", t["name"].get<std::string>(), t["dtype"].get<std::string>(),
                             t["shape"].dump()));
}

void run_inspect(const InspectFlags& options) {
  const std::filesystem::path directory = options.directory;
  nlohmann::json what;
  if (std::filesystem::exists(directory / "adapter_config.json"))
    what = inspect_adapter(directory, options.tensors);
  else if (std::filesystem::exists(directory / "config.json"))
    what = inspect_model(directory, options.tensors);
  else
    throw ArgumentError(
        fmt::format("{} is neither a model (config.json) nor an adapter (adapter_config.json) directory",
                    options.directory));
  if (options.json)
    print_line(what.dump());
  else
    print_readable(what);
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Say what is in a model or adapter directory");
  auto options = std::make_shared<InspectFlags>();
  command->add_option("directory,--model,--adapter", options->directory, "Model or adapter directory")
      ->required();
  command->add_flag("--tensors", options->tensors, "List every tensor");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->footer("Examples:\n  wick inspect models/base\n  wick inspect runs/first --tensors");
  command->callback([options] { run_inspect(*options); });
}

}  // namespace wick::cli
