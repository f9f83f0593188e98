#include "wick/explain.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "cli/commands.h"
#include "cli/options.h"
#include "io/atomic_file.h"
#include "wick/error.h"
#include "wick/generate.h"
#include "wick/trainer.h"

namespace wick::cli {
namespace {

struct ExplainFlags {
  std::string model;
  std::string adapter;
  std::string what = "train";
  std::string format = "text";
  std::string out;
  std::string dtype;
  std::string target_modules = "all-linear";
  std::int64_t rank = 8;
  std::optional<std::int64_t> batch_size;
  std::optional<std::int64_t> seq_len;
  bool full = false;
  bool gradient_checkpointing = false;
  ComputeOptions compute;
};

struct Format {
  const char* name;
  std::string (Explanation::*render)() const;
};
constexpr Format formats[] = {{"text", &Explanation::text},
                              {"json", &Explanation::json},
                              {"dot", &Explanation::dot},
                              {"svg", &Explanation::svg},
                              {"html", &Explanation::html}};

const Format& find_format(const std::string& name) {
  std::string names;
  for (const Format& format : formats) {
    if (name == format.name) return format;
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  throw ArgumentError(fmt::format("--format: \"{}\" is not one of {}", name, names));
}

/// The model's shapes; its weights are not read.
Model blank_model(const ExplainFlags& options, Device device) {
  const std::filesystem::path directory = options.model;
  const ModelConfig config = ModelConfig::from_file(directory / "config.json");
  if (!options.dtype.empty())
    return Model::blank(config, parse_floating_dtype("--dtype", options.dtype), device);
  return Model::blank(config, options.full ? DType::f32 : config.dtype.value_or(DType::f32), device);
}

std::optional<LoraAdapter> adapter_for(const ExplainFlags& options, const Model& model) {
  if (!options.adapter.empty()) return LoraAdapter::load(options.adapter, model);
  if (options.what != "train" || options.full) return {};
  LoraConfig config;
  config.rank = options.rank;
  config.target_modules = parse_target_modules(options.target_modules);
  config.validate();
  return LoraAdapter::create(model, config, 0);
}

Explanation explanation_of(const ExplainFlags& options, Device device) {
  Model model = blank_model(options, device);
  const std::int64_t positions = model.config().max_position_embeddings;
  const std::int64_t length = options.seq_len.value_or(std::min<std::int64_t>(512, positions));
  if (length < 1 || options.batch_size.value_or(1) < 1)
    throw ArgumentError("--seq-len and --batch-size must be at least 1");
  if (length > positions)
    throw ArgumentError(
        fmt::format("--seq-len: {} tokens do not fit the model's {} positions", length, positions));
  std::optional<LoraAdapter> adapter = adapter_for(options, model);
  if (options.what == "train") {
    TrainOptions train;
    train.full = options.full;
    train.gradient_checkpointing = options.gradient_checkpointing;
    const std::int64_t rows = options.batch_size.value_or(train.batch_size);
    return explain_train_step(std::move(model), std::move(adapter), train, rows, length);
  }
  const LoraAdapter* used = adapter ? &*adapter : nullptr;
  const std::int64_t rows = options.batch_size.value_or(1);
  if (options.what == "prefill") return explain_forward(model, used, rows, length, 0);
  if (options.what == "decode") return explain_forward(model, used, rows, 1, length - 1);
  throw ArgumentError(fmt::format("--what: \"{}\" is not one of train, prefill, decode", options.what));
}

void run_explain(const ExplainFlags& options, Device device) {
  const Format& format = find_format(options.format);
  if (options.full && options.what != "train")
    throw ArgumentError("--full makes sense with --what train only");
  const Explanation explanation = explanation_of(options, device);
  const std::string text = (explanation.*format.render)();
  if (options.out.empty())
    print_line(text);
  else
    write_file_atomically(options.out, text);
}

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("explain", "Show what a training or generation step computes, and what it takes");
  auto options = std::make_shared<ExplainFlags>();
  command
      ->add_option("--model", options->model, "Model directory; config.json is enough, weights are not read")
      ->required();
  command
      ->add_option("--what", options->what,
                   "train (an optimizer step), prefill (a prompt) or decode (one token behind a cache)")
      ->capture_default_str();
  command->add_option("--format", options->format, "text, json, dot (Graphviz), svg or html (one page)")
      ->capture_default_str();
  command->add_option("--out", options->out, "Write to this file instead of standard output");
  command->add_option("--batch-size", options->batch_size, "Rows (default: 8 to train, 1 to generate)");
  command->add_option("--seq-len", options->seq_len,
                      "Tokens of a row; for decode those in the cache afterwards (default: 512, or the "
                      "model's positions where those are fewer)");
  command->add_option("--adapter", options->adapter, "LoRA adapter directory in PEFT layout");
  command->add_option("--rank", options->rank, "To train: rank of a new adapter")->capture_default_str();
  command
      ->add_option("--target-modules", options->target_modules,
                   "To train: names separated by commas, a regular expression, or all-linear")
      ->capture_default_str();
  command->add_flag("--full", options->full, "To train: all parameters instead of an adapter");
  command->add_flag(
      "--gradient-checkpointing", options->gradient_checkpointing,
      "To train: compute each layer again for its gradient instead of keeping what it computed");
  command->add_option("--dtype", options->dtype,
                      "Dtype of the weights: f32, bf16 or f16 (default: as the config says)");
  options->compute.add_to(*command);
  command->footer(
      "Examples:\n"
      "  wick explain --model models/base --what decode\n"
      "  wick explain --model models/base --batch-size 1 --seq-len 512 --target-modules q_proj,v_proj "
      "--format html --out step.html\n"
      "  wick explain --model models/base --what prefill --format dot | dot -Tpdf > prefill.pdf");
  command->callback(
      [options] { options->compute.run([&](Device device) { run_explain(*options, device); }); });
}

}  // namespace wick::cli
