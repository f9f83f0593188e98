#include "wick/generate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "cli/options.h"
#include "wick/error.h"
#include "wick/eval.h"

namespace wick::cli {
namespace {

struct GenerateFlags {
  std::string model;
  std::string adapter;
  std::string prompt;
  std::string dtype;
  GenerateOptions generate;
  bool json = false;
  ComputeOptions compute;
};

void write_text(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw FileError("cannot write to standard output");
}

void run_generate(const GenerateFlags& options, Device device) {
  std::optional<DType> dtype;
  if (!options.dtype.empty()) dtype = parse_floating_dtype("--dtype", options.dtype);
  options.generate.sampling.validate();
  const Tokenizer tokenizer = Tokenizer::from_directory(options.model);
  const Model model = Model::load(options.model, dtype, device);
  std::optional<LoraAdapter> adapter;
  if (!options.adapter.empty()) adapter = LoraAdapter::load(options.adapter, model);
  const std::vector<std::int32_t> ids = tokenizer.encode(options.prompt);

  TokenCallback stream;
  if (!options.json) {
    // The prompt goes before the first token, not earlier: nothing is printed of what is refused.
    stream = [prompt = tokenizer.decode(ids)](const GeneratedToken& token) mutable {
      write_text(std::exchange(prompt, {}) + token.text);
      return true;
    };
  }
  const Generation result =
      generate(model, tokenizer, ids, options.generate, adapter ? &*adapter : nullptr, stream);
  if (options.json) {
    print_line(nlohmann::json{{"prompt_ids", result.prompt_ids},
                              {"ids", result.ids},
                              {"text", result.text},
                              {"completion", result.completion},
                              {"finish_reason", result.finish_reason},
                              {"prompt_seconds", result.prompt_seconds},
                              {"tokens_per_second", result.tokens_per_second},
                              {"peak_bytes", peak_bytes(model.device())}}
                   .dump());
    return;
  }
  write_text("\n");
  if (isatty(STDERR_FILENO))
    print_error_line(fmt::format("[{} tokens, {:.1f} tokens/s, {}]", result.ids.size(),
                                 result.tokens_per_second, result.finish_reason));
}

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text");
  auto options = std::make_shared<GenerateFlags>();
  SamplingOptions& sampling = options->generate.sampling;
  command->add_option("--model", options->model, "Model directory in Hugging Face layout")->required();
  command->add_option("--adapter", options->adapter, "LoRA adapter directory in PEFT layout");
  command->add_option("--prompt", options->prompt, "Text to continue")->required();
  command->add_option("--max-tokens", options->generate.max_tokens, "Most tokens to generate")
      ->capture_default_str();
  command->add_option("--temperature", sampling.temperature, "0 takes the likeliest token each time")
      ->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "Draw from the K likeliest tokens; 0: from all")
      ->capture_default_str();
  command->add_option("--top-p", sampling.top_p, "Draw from the likeliest tokens of this total probability")
      ->capture_default_str();
  command->add_option("--min-p", sampling.min_p, "Leave out tokens below this share of the likeliest one")
      ->capture_default_str();
  command
      ->add_option("--repetition-penalty", sampling.repetition_penalty,
                   "Above 1: seen tokens become less likely")
      ->capture_default_str();
  command->add_option("--seed", sampling.seed, "Seed of the random draws")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--stop", options->generate.stop, "End before this text (repeatable)");
  command->add_option("--dtype", options->dtype,
                      "Convert the weights: f32, bf16 or f16 (default: as stored)");
  command->add_flag(
      "--json", options->json,
      "Print one JSON object: prompt_ids, ids, text (prompt and completion), completion, finish_reason, "
      "prompt_seconds, tokens_per_second, peak_bytes");
  options->compute.add_to(*command);
  command->footer(
      "Examples:\n"
      "  wick generate --model models/base --prompt \"Once upon a time\" --max-tokens 100\n"
      "  wick generate --model models/base --adapter runs/first --prompt \"Log:\" --temperature 0 --json");
  command->callback(
      [options] { options->compute.run([&](Device device) { run_generate(*options, device); }); });
}

}  // namespace wick::cli
