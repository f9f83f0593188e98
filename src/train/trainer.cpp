#include "wick/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "io/atomic_file.h"
#include "io/file_lock.h"
#include "train/batch_loss.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/loss_curve.h"
#include "train/metrics.h"
#include "train/run_state.h"
#include "train/train_step.h"
#include "train/what_fits.h"
#include "wick/error.h"
#include "wick/eval.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

constexpr const char* state_file = "state.json";
constexpr const char* optimizer_file = "optimizer.safetensors";

void require(bool holds, const std::string& message) {
  if (!holds) throw ArgumentError(message);
}

void check_options(const TrainOptions& o, const Model& model, const LoraAdapter* adapter,
                   const Dataset& data) {
  require(!o.full || !adapter, "training all parameters and training an adapter exclude each other");
  require(o.full || adapter, "training needs an adapter, or the option to train all parameters");
  require(!o.out.empty(), "training needs an output directory");
  require(o.steps >= 0, fmt::format("the number of steps must not be negative, it is {}", o.steps));
  require(o.steps > 0 || (std::isfinite(o.epochs) && o.epochs > 0),
          fmt::format("the number of epochs must be above 0, it is {}", o.epochs));
  require(o.grad_accumulation >= 1,
          fmt::format("gradient accumulation must be at least 1, it is {}", o.grad_accumulation));
  require(
      std::isfinite(o.max_grad_norm) && o.max_grad_norm >= 0,
      fmt::format("the largest gradient norm must be 0 (no clipping) or above, it is {}", o.max_grad_norm));
  require(std::isfinite(o.adamw.weight_decay) && o.adamw.weight_decay >= 0,
          fmt::format("the weight decay must be 0 or above, it is {}", o.adamw.weight_decay));
  require(o.label_smoothing >= 0 && o.label_smoothing < 1,
          fmt::format("label smoothing must lie in [0, 1), it is {}", o.label_smoothing));
  require(o.save_every >= 0 && o.eval_every >= 0 && o.patience >= 0,
          "the intervals of saving and validation and the patience must not be negative");
  require(o.keep_checkpoints >= 1,
          fmt::format("at least 1 checkpoint must be kept, not {}", o.keep_checkpoints));
  const std::int64_t positions = model.config().max_position_embeddings;
  const std::int64_t longest = data.grid() && !o.shuffle ? data.grid()->length : o.seq_len;
  require(
      longest <= positions,
      fmt::format("rows of {} tokens do not fit the model's {} positions; choose a smaller sequence length",
                  longest, positions));
}

void create_output_directory(const fs::path& out) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error)
    throw FileError(fmt::format("cannot create the directory {}: {}", out.string(), error.message()));
}

std::int64_t planned_steps(const TrainOptions& options, std::int64_t batches_per_epoch) {
  if (options.steps > 0) return options.steps;
  const double batches = options.epochs * static_cast<double>(batches_per_epoch);
  require(batches < 1e15, fmt::format("{} epochs are too many", options.epochs));
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::ceil(batches / static_cast<double>(options.grad_accumulation))));
}

TrainStepOptions step_options(const TrainOptions& o) {
  return {o.adamw, o.max_grad_norm, o.label_smoothing, o.seed, o.gradient_checkpointing};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What a step learns from, and where the data stand after it.
struct StepData {
  std::vector<BatchTensors> micro_batches;
  std::int64_t targets = 0;
  std::int64_t tokens = 0;
  BatchPosition position;
};

/// A step that runs, or that has nothing to run.
struct RunningStep {
  StepData data;
  std::optional<TrainStep::Running> running;  // none for data without a target
  std::chrono::steady_clock::time_point started;
  double learning_rate = 0;
  std::int64_t optimizer_steps = 0;
};

/// One call of `train`.
class TrainingRun {
 public:
  TrainingRun(Model& model, LoraAdapter* adapter, const Dataset& data, const Dataset* valid,
              const TrainOptions& options, const TrainCallbacks& callbacks)
      : options_(options),
        callbacks_(callbacks),
        model_(model),
        adapter_(adapter),
        valid_(valid),
        lock_(options.out),
        checkpoints_(options.out / "checkpoints"),
        batches_(data, {options.batch_size, options.seq_len, options.seed, options.shuffle, options.packing}),
        total_steps_(planned_steps(options, batches_.batches_per_epoch())),
        schedule_(
            {schedule_from_name(options.schedule), options.learning_rate, total_steps_, options.warmup}),
        step_(model, adapter, step_options(options)),
        settings_(decisive_settings(options, total_steps_, model, adapter, data, valid)),
        state_(initial_state()),
        metrics_(options.out / "metrics.csv", state_.step) {
    for (const fs::path& directory : {options.out, options.out / "best"}) remove_stale_temporaries(directory);
    state_.position.seed = options.seed;
    batches_.seek(state_.position);
    report_rows(data);
  }

  TrainResult run() {
    std::string finish_reason = "done";
    while (state_.step < total_steps_) {
      if (is_stopped() && !ahead_) {
        finish_reason = "interrupted";
        break;
      }
      take_step();
      if (options_.patience > 0 && state_.validations_without_gain >= options_.patience) {
        finish_reason = "early-stop";
        break;
      }
      if (is_saved(state_.step)) save_checkpoint();
    }
    if (last_saved_ != state_.step) save_checkpoint();
    if (finish_reason != "interrupted") {
      if (state_.optimizer_steps == 0)
        throw DataError("no step had a token to learn, so that nothing was trained");
      step_.trainables().save(options_.out);
    }
    return {state_.step,      state_.loss,    state_.best_valid_loss,
            state_.best_step, state_.skipped, finish_reason};
  }

 private:
  /// That of the newest checkpoint, whose weights and moments become the current ones; or a new one.
  RunState initial_state() {
    const std::vector<std::int64_t> steps = checkpoints_.steps();
    if (!options_.resume) {
      require(steps.empty(),
              fmt::format("{} holds checkpoints of an earlier run: continue it with --resume, or choose "
                          "another directory",
                          options_.out.string()));
      return {};
    }
    require(!steps.empty(), fmt::format("{} holds no checkpoint to resume from; start without --resume",
                                        options_.out.string()));
    const fs::path checkpoint = checkpoints_.path(steps.back());
    checkpoints_.verify(steps.back());
    const StoredRunState stored = read_run_state(checkpoint / state_file);
    require_same_settings(stored.settings, settings_, checkpoint);
    restore_optimizer(checkpoint / optimizer_file, stored.state.optimizer_steps);
    step_.trainables().restore(checkpoint);
    last_saved_ = stored.state.step;
    say(fmt::format("Continuing after step {} of {}.", stored.state.step, total_steps_));
    return stored.state;
  }

  void restore_optimizer(const fs::path& file, std::int64_t optimizer_steps) {
    std::vector<Tensor> moments = read_tensors(file, moment_names(), step_.optimizer().pending());
    const auto middle = moments.begin() + static_cast<std::ptrdiff_t>(moments.size() / 2);
    step_.optimizer().restore(optimizer_steps, {moments.begin(), middle}, {middle, moments.end()});
  }

  /// In the order of AdamW::pending.
  std::vector<std::string> moment_names() {
    std::vector<std::string> names;
    for (const char* prefix : {"m.", "v."})
      for (const std::string& name : step_.trainables().names()) names.push_back(prefix + name);
    return names;
  }

  void report_rows(const Dataset& data) const {
    const BatchCounts& counts = batches_.counts();
    if (data.skipped_rows() > 0)
      say(fmt::format("{}: {} empty rows were skipped.", data.path().string(), data.skipped_rows()));
    if (counts.split_rows > 0)
      say(fmt::format("{} rows longer than {} tokens were split.", counts.split_rows, options_.seq_len));
    if (counts.truncated_rows > 0)
      say(fmt::format("{} rows longer than {} tokens were truncated ({} tokens lost).", counts.truncated_rows,
                      options_.seq_len, counts.lost_tokens));
    if (counts.skipped_rows > 0)
      say(fmt::format("{} rows have nothing to learn within {} tokens and were skipped.", counts.skipped_rows,
                      options_.seq_len));
  }

  StepData next_data() {
    StepData data;
    for (std::int64_t i = 0; i < options_.grad_accumulation; ++i) {
      const Batch batch = batches_.next();
      data.targets += batch.target_tokens;
      data.tokens += tokens_of(batch);
      data.micro_batches.emplace_back(batch);
    }
    data.position = batches_.position();
    return data;
  }

  bool is_stopped() const { return callbacks_.stop && callbacks_.stop->load(); }

  /// Submits step number `step`; `after` is the one before while that runs.
  RunningStep begin_step(std::int64_t step, const RunningStep* after = nullptr) {
    RunningStep begun;
    begun.started = std::chrono::steady_clock::now();
    begun.data = prepared_ ? *std::exchange(prepared_, std::nullopt) : next_data();
    begun.learning_rate = schedule_.learning_rate(step);
    if (begun.data.targets > 0) begun.running = submit(step, begun, after);
    begun.optimizer_steps = step_.optimizer().steps();
    return begun;
  }

  TrainStep::Running submit(std::int64_t number, const RunningStep& step, const RunningStep* after) {
    try {
      return step_.submit(step.data.micro_batches, number * options_.grad_accumulation, step.learning_rate,
                          after && after->running ? &*after->running : nullptr);
    } catch (const MemoryError& e) {
      const std::vector<BatchTensors>& batches = step.data.micro_batches;
      const std::string fits = what_would_fit(model_, adapter_, step_options(options_),
                                              {.rows = batches[0].ids.dim(0),
                                               .length = batches[0].ids.dim(1),
                                               .packed = batches[0].segments.defined(),
                                               .accumulates = batches.size() > 1,
                                               .rows_are_fixed = batches_.rows_are_fixed()});
      throw MemoryError(fits.empty() ? e.what() : fmt::format("{}. {}", e.what(), fits));
    }
  }

  /// Whether the step behind the current one may begin before the current one's outcome is known: nobody
  /// looks at the weights in between, and recording it takes nothing from the device that computes.
  bool may_run_ahead() const {
    const std::int64_t step = state_.step + 1;
    return !(model_.device() == cpu) && !is_stopped() && !is_validated(step) && !is_saved(step);
  }
  bool is_saved(std::int64_t step) const {
    return options_.save_every > 0 && step % options_.save_every == 0;
  }

  void take_step() {
    const RunningStep step = ahead_ ? *std::exchange(ahead_, std::nullopt) : begin_step(state_.step);
    if (state_.step + 1 < total_steps_) {
      if (may_run_ahead())
        ahead_ = begin_step(state_.step + 1, &step);
      else
        prepared_ = next_data();
    }
    StepMetrics metrics;
    metrics.learning_rate = step.learning_rate;
    if (step.running) {
      const TrainStep::Outcome outcome = step.running->outcome();
      require_finite(outcome);
      metrics.loss = state_.loss = outcome.loss;
      metrics.grad_norm = outcome.grad_norm;
      metrics.tokens_per_second = static_cast<double>(step.data.tokens) /
                                  std::max(seconds_since(std::max(step.started, finished_)), 1e-9);
    }
    finished_ = std::chrono::steady_clock::now();
    state_.optimizer_steps = step.optimizer_steps;
    state_.position = step.data.position;
    metrics.step = ++state_.step;
    metrics.total_steps = total_steps_;
    metrics.epoch =
        static_cast<double>(state_.position.epoch) +
        static_cast<double>(state_.position.index) / static_cast<double>(batches_.batches_per_epoch());
    metrics.peak_bytes = peak_bytes(model_.device());
    if (is_validated(state_.step)) metrics.valid_loss = validate();
    if (!step.running) {
      ++state_.skipped;
      say(fmt::format("Step {} was skipped: none of its tokens is to be learned.", state_.step));
      return;
    }
    metrics_.write(metrics);
    if (callbacks_.on_step) callbacks_.on_step(metrics);
  }

  void require_finite(const TrainStep::Outcome& outcome) const {
    if (std::isfinite(outcome.loss) && std::isfinite(outcome.grad_norm)) return;
    const std::vector<std::int64_t> steps = checkpoints_.steps();
    throw NumericError(fmt::format(
        "step {}: the loss is {} and the gradient norm {}; no update was made. {}. A lower learning rate may "
        "help",
        state_.step + 1, outcome.loss, outcome.grad_norm,
        steps.empty() ? "There is no checkpoint yet"
                      : fmt::format("The last checkpoint is {}", checkpoints_.path(steps.back()).string())));
  }

  bool is_validated(std::int64_t step) const {
    if (!valid_) return false;
    return step == total_steps_ || (options_.eval_every > 0 && step % options_.eval_every == 0);
  }

  double validation_loss() const {
    try {
      return evaluate(model_, adapter_, *valid_, options_.batch_size, options_.seq_len).loss;
    } catch (const NumericError& e) {
      throw NumericError(fmt::format("validation after step {}: {}", state_.step, e.what()));
    }
  }

  double validate() {
    const double loss = validation_loss();
    if (state_.best_valid_loss && loss >= *state_.best_valid_loss) {
      ++state_.validations_without_gain;
      return loss;
    }
    state_.validations_without_gain = 0;
    state_.best_valid_loss = loss;
    state_.best_step = state_.step;
    step_.trainables().save(options_.out / "best");
    return loss;
  }

  void save_checkpoint() {
    checkpoints_.save(state_.step, [this](const fs::path& directory) {
      step_.trainables().save(directory);
      write_tensors(directory / optimizer_file, moment_names(), step_.optimizer().pending());
      write_run_state(directory / state_file, state_, settings_);
    });
    last_saved_ = state_.step;
    checkpoints_.keep_newest(options_.keep_checkpoints);
    write_file_atomically(options_.out / "loss.svg", loss_curve_svg(metrics_.rows()));
    say(fmt::format("Saved {}.", checkpoints_.path(state_.step).string()));
  }

  void say(const std::string& message) const {
    if (callbacks_.on_message) callbacks_.on_message(message);
  }

  const TrainOptions& options_;
  const TrainCallbacks& callbacks_;
  Model& model_;
  LoraAdapter* adapter_;
  const Dataset* valid_;
  DirectoryLock lock_;
  CheckpointStore checkpoints_;
  Batches batches_;
  std::int64_t total_steps_;
  Schedule schedule_;
  TrainStep step_;
  nlohmann::json settings_;
  std::int64_t last_saved_ = -1;
  RunState state_;
  MetricsWriter metrics_;
  std::optional<StepData> prepared_;                // of the next step, made while the one before ran
  std::optional<RunningStep> ahead_;                // the next step, submitted while the one before ran
  std::chrono::steady_clock::time_point finished_;  // the step before
};

}  // namespace

TrainResult train(Model& model, LoraAdapter* adapter, const Dataset& data, const Dataset* valid,
                  const TrainOptions& options, const TrainCallbacks& callbacks) {
  check_options(options, model, adapter, data);
  create_output_directory(options.out);
  return TrainingRun(model, adapter, data, valid, options, callbacks).run();
}

}  // namespace wick
