#include "wick/eval.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/data_files.h"
#include "cli/options.h"
#include "wick/error.h"
#include "wick/trainer.h"

namespace wick::cli {
namespace {

struct EvalFlags {
  std::string model;
  std::string adapter;
  std::string data;
  std::string logits;
  std::string dtype;
  std::int64_t batch_size = 8;
  std::int64_t seq_len = 0;
  bool loss_on_prompt = false;
  bool json = false;
  ComputeOptions compute;
};

void run_eval(const EvalFlags& options, Device device) {
  if (options.seq_len < 0)
    throw ArgumentError(fmt::format("--seq-len must be at least 1, not {}", options.seq_len));
  std::optional<DType> dtype;
  if (!options.dtype.empty()) dtype = parse_floating_dtype("--dtype", options.dtype);
  const Model model = Model::load(options.model, dtype, device);
  std::optional<LoraAdapter> adapter;
  if (!options.adapter.empty()) adapter = LoraAdapter::load(options.adapter, model);
  const LoraAdapter* used = adapter ? &*adapter : nullptr;
  if (!options.logits.empty()) {
    if (std::filesystem::path(options.data).extension() != ".safetensors")
      throw ArgumentError("--logits needs tokenised data (.safetensors), whose shape the logits take");
    write_logits(model, used, options.data, options.logits, options.batch_size);
  }
  const Dataset data =
      load_dataset(options.data, options.model,
                   {.vocab_size = model.config().vocab_size, .loss_on_prompt = options.loss_on_prompt});
  const std::int64_t seq_len = options.seq_len > 0 ? options.seq_len : model.config().max_position_embeddings;
  const EvalResult result = evaluate(model, used, data, options.batch_size, seq_len);
  if (options.json) {
    print_line(nlohmann::json{{"loss", result.loss},
                              {"perplexity", result.perplexity},
                              {"tokens", result.tokens},
                              {"peak_bytes", peak_bytes(model.device())}}
                   .dump());
    return;
  }
  print_line(fmt::format("loss        {:.6f}\nperplexity  {:.4f}\ntokens      {}", result.loss,
                         result.perplexity, result.tokens));
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand("eval", "Measure loss and perplexity on a data file");
  auto options = std::make_shared<EvalFlags>();
  command->add_option("--model", options->model, "Model directory in Hugging Face layout")->required();
  command->add_option("--adapter", options->adapter, "LoRA adapter directory in PEFT layout");
  command->add_option("--data", options->data, "Data: .jsonl, .txt, or tokenised .safetensors")->required();
  command->add_option("--logits", options->logits,
                      "With tokenised data: write `logits` (f32) to this .safetensors file");
  command->add_option("--batch-size", options->batch_size, "Rows of a batch")->capture_default_str();
  command->add_option("--seq-len", options->seq_len, "Most tokens of a row (default: the model's positions)");
  command->add_flag("--loss-on-prompt", options->loss_on_prompt, "Count prompts too, not only completions");
  command->add_option("--dtype", options->dtype,
                      "Convert the weights: f32, bf16 or f16 (default: as stored)");
  command->add_flag("--json", options->json, "Print one JSON object: loss, perplexity, tokens, peak_bytes");
  options->compute.add_to(*command);
  command->footer(
      "Examples:\n"
      "  wick eval --model models/base --adapter runs/first --data valid.jsonl\n"
      "  wick eval --model models/base --data batches.safetensors --logits logits.safetensors");
  command->callback([options] { options->compute.run([&](Device device) { run_eval(*options, device); }); });
}

}  // namespace wick::cli
