#include <fmt/format.h>

#include <filesystem>

#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "wick/error.h"
#include "wick/lora.h"
#include "wick/model.h"

namespace wick::cli {
namespace {

struct MergeFlags {
  std::string model;
  std::string adapter;
  std::string out;
  std::string dtype;
  ComputeOptions compute;
};

void run_merge(const MergeFlags& options, Device device) {
  std::optional<DType> dtype;
  if (!options.dtype.empty()) dtype = parse_floating_dtype("--dtype", options.dtype);
  require_new_directory("--out", options.out);
  Model model = Model::load(options.model, {}, device);
  merge(model, LoraAdapter::load(options.adapter, model));
  model.save(options.out, dtype);
  copy_tokenizer_files(options.model, options.out);
  print_line(fmt::format("merged model written to {}", options.out));
}

}  // namespace

void add_merge(CLI::App& app) {
  CLI::App* command = app.add_subcommand("merge", "Add an adapter to its base model and write the result");
  auto options = std::make_shared<MergeFlags>();
  command->add_option("--model", options->model, "Base model directory")->required();
  command->add_option("--adapter", options->adapter, "LoRA adapter directory in PEFT layout")->required();
  command->add_option("--out", options->out, "Directory to write; must not hold a model yet")->required();
  command->add_option("--dtype", options->dtype, "Dtype to write: f32, bf16 or f16 (default: as the base)");
  options->compute.add_to(*command);
  command->footer("Example:\n  wick merge --model models/base --adapter runs/first --out models/merged");
  command->callback([options] { options->compute.run([&](Device device) { run_merge(*options, device); }); });
}

}  // namespace wick::cli
