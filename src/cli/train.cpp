#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <optional>

#include "cli/commands.h"
#include "cli/data_files.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "core/progress.h"
#include "wick/error.h"
#include "wick/trainer.h"

namespace wick::cli {
namespace {

struct TrainFlags {
  std::string model;
  std::string data;
  std::string valid_data;
  double valid_split = 0;
  std::string init_adapter;
  bool init_random = false;
  std::int64_t rank = 8;
  double alpha = 16;
  bool rslora = false;
  double dropout = 0;
  std::string target_modules = "all-linear";
  bool loss_on_prompt = false;
  std::int64_t seq_len = 0;
  bool no_shuffle = false;
  std::string dtype;
  std::string save_dtype;
  TrainOptions train;
  bool json = false;
  ComputeOptions compute;
};

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

/// While one lives, the first Ctrl-C (or SIGTERM) asks the trainer to save and stop; a second one ends the
/// program.
class InterruptScope {
 public:
  InterruptScope() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, &previous_int_);
    sigaction(SIGTERM, &action, &previous_term_);
  }
  ~InterruptScope() {
    sigaction(SIGINT, &previous_int_, nullptr);
    sigaction(SIGTERM, &previous_term_, nullptr);
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction previous_int_ {};
  struct sigaction previous_term_ {};
};

/// Metrics as JSON lines, as a progress bar on a terminal, or as a table of some of the steps.
class Reporter {
 public:
  explicit Reporter(bool json) : json_(json), terminal_(!json && isatty(STDERR_FILENO)) {}

  void step(const StepMetrics& m) {
    if (json_) {
      print_line(metrics_json(m));
      return;
    }
    if (terminal_)
      bar_.show(m.step, m.total_steps,
                fmt::format("loss {:.4f}  {:.0f} tokens/s", m.loss, m.tokens_per_second));
    const std::int64_t every = std::max<std::int64_t>(1, m.total_steps / 20);
    if (m.step == 1 || m.step % every == 0 || m.step == m.total_steps || m.valid_loss) row(m);
  }

  void message(const std::string& text) {
    bar_.clear();
    if (json_)
      print_error_line(text);
    else
      print_line(text);
  }

  void finish() { bar_.clear(); }

 private:
  void row(const StepMetrics& m) {
    bar_.clear();
    if (!header_)
      print_line(fmt::format("{:>8} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10}", "step", "loss", "grad norm",
                             "lr", "tokens/s", "peak MiB", "valid loss"));
    header_ = true;
    print_line(fmt::format("{:>8} {:>9.4f} {:>9.4f} {:>10.3g} {:>10.0f} {:>10.1f} {:>10}", m.step, m.loss,
                           m.grad_norm, m.learning_rate, m.tokens_per_second,
                           static_cast<double>(m.peak_bytes) / (1 << 20),
                           m.valid_loss ? fmt::format("{:.4f}", *m.valid_loss) : ""));
  }

  bool json_;
  bool terminal_;
  bool header_ = false;
  ProgressBar bar_;
};

Model load_model(const TrainFlags& options, Device device) {
  std::optional<DType> dtype;
  if (options.train.full) dtype = DType::f32;
  if (!options.dtype.empty()) {
    dtype = parse_floating_dtype("--dtype", options.dtype);
    if (options.train.full && *dtype != DType::f32)
      throw ArgumentError(
          "--full trains f32 weights; leave --dtype out, and choose what is written with --save-dtype");
  }
  if (!options.init_random) return Model::load(options.model, dtype, device);
  if (!options.train.full) throw ArgumentError("--init-random makes sense with --full only");
  return Model::random(ModelConfig::from_file(std::filesystem::path(options.model) / "config.json"),
                       options.train.seed, DType::f32, device);
}

LoraAdapter make_adapter(const TrainFlags& options, const Model& model) {
  if (!options.init_adapter.empty()) return LoraAdapter::load(options.init_adapter, model);
  LoraConfig config;
  config.rank = options.rank;
  config.alpha = options.alpha;
  config.use_rslora = options.rslora;
  config.dropout = options.dropout;
  config.target_modules = parse_target_modules(options.target_modules);
  config.base_model = options.model;
  config.validate();
  return LoraAdapter::create(model, config, options.train.seed);
}

void run_train(TrainFlags options, Device device) {
  options.train.shuffle = !options.no_shuffle;
  if (options.train.full && !options.init_adapter.empty())
    throw ArgumentError("--full trains the model itself; it takes no --init-adapter");
  if (!options.valid_data.empty() && options.valid_split != 0)
    throw ArgumentError("give --valid-data or --valid-split, not both");
  if (options.train.full && !options.train.resume) require_new_directory("--out", options.train.out);

  schedule_from_name(options.train.schedule);
  Model model = load_model(options, device);
  if (options.seq_len < 0)
    throw ArgumentError(fmt::format("--seq-len must be at least 1, not {}", options.seq_len));
  options.train.seq_len = options.seq_len > 0
                              ? options.seq_len
                              : std::min(options.train.seq_len, model.config().max_position_embeddings);
  const DatasetOptions data_options{.vocab_size = model.config().vocab_size,
                                    .loss_on_prompt = options.loss_on_prompt};
  Dataset data = load_dataset(options.data, options.model, data_options);
  std::optional<Dataset> valid;
  if (!options.valid_data.empty()) valid = load_dataset(options.valid_data, options.model, data_options);
  if (options.valid_split != 0) std::tie(data, valid) = data.split(options.valid_split, options.train.seed);
  std::optional<LoraAdapter> adapter;
  if (!options.train.full) adapter = make_adapter(options, model);

  Reporter reporter(options.json);
  const InterruptScope interrupts;
  TrainCallbacks callbacks;
  callbacks.on_step = [&](const StepMetrics& m) { reporter.step(m); };
  callbacks.on_message = [&](const std::string& text) { reporter.message(text); };
  callbacks.stop = &interrupted;
  const TrainResult result =
      train(model, adapter ? &*adapter : nullptr, data, valid ? &*valid : nullptr, options.train, callbacks);
  reporter.finish();

  const std::string out = options.train.out.string();
  if (result.finish_reason == "interrupted") {
    reporter.message(
        fmt::format("interrupted after step {}; continue with the same command and --resume", result.steps));
    return;
  }
  if (options.train.full) {
    if (!options.save_dtype.empty())
      model.save(out, parse_floating_dtype("--save-dtype", options.save_dtype));
    copy_tokenizer_files(options.model, out);
    if (result.best_valid_loss) copy_tokenizer_files(options.model, options.train.out / "best");
  }
  std::string summary = fmt::format("{} after step {}: {} written to {}", result.finish_reason, result.steps,
                                    options.train.full ? "model" : "adapter", out);
  if (result.best_valid_loss)
    summary += fmt::format("; best validation loss {:.4f} at step {} ({}/best)", *result.best_valid_loss,
                           result.best_step, out);
  reporter.message(summary);
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Fine-tune a model with LoRA, or train all of it");
  auto options = std::make_shared<TrainFlags>();
  TrainOptions& train = options->train;
  train.schedule = "constant";
  command->add_option("--model", options->model, "Base model directory in Hugging Face layout")->required();
  command->add_option("--data", options->data, "Training data: .jsonl, .txt, or tokenised .safetensors")
      ->required();
  command->add_option("--valid-data", options->valid_data, "Validation data, likewise");
  command->add_option("--valid-split", options->valid_split,
                      "Take this share of the training rows for validation");
  command
      ->add_option("--out", train.out,
                   "Output directory: adapter (or model), checkpoints, metrics.csv, loss.svg")
      ->required();
  command->add_option("--init-adapter", options->init_adapter,
                      "Start from this adapter, with its configuration");
  command->add_option("--rank", options->rank, "Rank of the adapter")->capture_default_str();
  command->add_option("--alpha", options->alpha, "The adapter is scaled by alpha / rank")
      ->capture_default_str();
  command->add_flag("--rslora", options->rslora, "Scale by alpha / sqrt(rank) instead");
  command
      ->add_option("--target-modules", options->target_modules,
                   "Names separated by commas, a regular expression, or all-linear")
      ->capture_default_str();
  command->add_option("--dropout", options->dropout, "Dropout of the adapter's input")->capture_default_str();
  command->add_option("--steps", train.steps, "Optimizer steps (default: as --epochs says)");
  command->add_option("--epochs", train.epochs, "Passes over the data")->capture_default_str();
  command->add_option("--batch-size", train.batch_size, "Rows of a batch")->capture_default_str();
  command->add_option("--grad-accumulation", train.grad_accumulation, "Batches of an optimizer step")
      ->capture_default_str();
  command->add_option("--seq-len", options->seq_len,
                      "Most tokens of a row (default: 512, or the model's positions where those are fewer)");
  command->add_flag("--packing", train.packing, "Put several rows into one; they do not see each other");
  command->add_flag("--loss-on-prompt", options->loss_on_prompt, "Learn prompts too, not only completions");
  command->add_option("--lr", train.learning_rate, "Learning rate, at its peak")->capture_default_str();
  command->add_option("--schedule", train.schedule, "constant, linear or cosine")->capture_default_str();
  command->add_option("--warmup", train.warmup, "Steps of linear warm-up")->capture_default_str();
  command->add_option("--weight-decay", train.adamw.weight_decay, "Decoupled weight decay")
      ->capture_default_str();
  command
      ->add_option("--max-grad-norm", train.max_grad_norm, "Clip the gradient to this norm; 0: do not clip")
      ->capture_default_str();
  command->add_flag("--gradient-checkpointing", train.gradient_checkpointing,
                    "Compute activations again in the backward instead of keeping them");
  command->add_option("--label-smoothing", train.label_smoothing, "Label smoothing")->capture_default_str();
  command->add_option("--seed", train.seed, "Seed of initialisation, order and dropout")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--dtype", options->dtype,
                      "Convert the base weights: f32, bf16 or f16 (default: as stored)");
  command->add_flag("--full", train.full, "Train all parameters instead of an adapter");
  command->add_flag("--init-random", options->init_random,
                    "With --full: start from random weights (needs no weights)");
  command->add_option("--save-dtype", options->save_dtype,
                      "With --full: dtype of the written model (default: f32)");
  command->add_flag("--resume", train.resume, "Continue from the newest checkpoint in --out");
  command->add_option("--save-every", train.save_every, "Steps between checkpoints; 0: only when it ends")
      ->capture_default_str();
  command->add_option("--eval-every", train.eval_every, "Steps between validations; 0: only at the end")
      ->capture_default_str();
  command
      ->add_option("--patience", train.patience,
                   "Stop after so many validations without improvement; 0: never")
      ->capture_default_str();
  command->add_flag("--no-shuffle", options->no_shuffle, "Take the data in the order of the file");
  command->add_flag("--json", options->json, "Print one JSON object a step on standard output");
  options->compute.add_to(*command);
  command->footer(
      "Examples:\n"
      "  wick train --model models/base --data train.jsonl --out runs/first --steps 200\n"
      "  wick train --model models/base --data train.jsonl --valid-split 0.1 --eval-every 50 --patience 3 "
      "--out runs/b\n"
      "  wick train --model models/base --data train.jsonl --out runs/first --steps 400 --resume");
  command->callback([options] { options->compute.run([&](Device device) { run_train(*options, device); }); });
}

}  // namespace wick::cli
