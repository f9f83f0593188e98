#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "wick/dataset.h"
#include "wick/explain.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/optimizer.h"
#include "wick/schedule.h"

namespace wick {

/// Everything that decides a training run; kept in checkpoints, and compared on resume.
struct TrainOptions {
  std::int64_t steps = 0;  ///< optimizer steps; 0: as `epochs` says
  double epochs = 1;       ///< passes over the data, when steps is 0
  std::int64_t batch_size = 8;
  std::int64_t grad_accumulation = 1;
  std::int64_t seq_len = 512;
  double learning_rate = 2e-4;
  std::string schedule = "cosine";  ///< constant, linear, cosine; see `Schedule`
  std::int64_t warmup = 0;          ///< optimizer steps
  AdamWOptions adamw;
  double max_grad_norm = 1.0;  ///< 0: no clipping
  double label_smoothing = 0;
  std::uint64_t seed = 0;
  bool full = false;  ///< train all parameters, which must be f32, instead of an adapter
  bool shuffle = true;
  /// The backward computes each layer's activations again instead of keeping them: less memory, more time,
  /// the same values. A resumed run may choose anew.
  bool gradient_checkpointing = false;
  bool packing = false;         ///< several documents in a row, which do not see each other
  std::int64_t save_every = 0;  ///< steps between checkpoints; 0: only at the end and when stopped
  std::int64_t eval_every = 0;  ///< steps between validations; 0: only at the end
  std::int64_t patience = 0;    ///< stop after so many validations without improvement; 0: never
  std::int64_t keep_checkpoints = 2;
  std::filesystem::path out;  ///< output directory
  bool resume = false;        ///< continue from the newest checkpoint in `out`
};

/// What a step reports.
struct StepMetrics {
  std::int64_t step = 0;  ///< 1-based
  std::int64_t total_steps = 0;
  double epoch = 0;
  double loss = 0;
  double grad_norm = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  std::uint64_t peak_bytes = 0;
  std::optional<double> valid_loss;
};

/// One step as a line of JSON, without a line end: step, loss, grad_norm, lr, tokens_per_second, peak_bytes,
/// and valid_loss where there is one. Values that are not finite become null.
std::string metrics_json(const StepMetrics& metrics);

struct TrainResult {
  std::int64_t steps = 0;
  double final_loss = 0;
  std::optional<double> best_valid_loss;
  std::int64_t best_step = 0;
  std::int64_t skipped_steps = 0;  ///< steps whose data had no target: nothing was learned from them
  std::string finish_reason;       ///< "done", "interrupted", "early-stop"
};

struct TrainCallbacks {
  std::function<void(const StepMetrics&)> on_step;
  /// One sentence on something worth knowing: rows that were cut, a step that was skipped, a checkpoint.
  std::function<void(const std::string&)> on_message;
  /// Set from a signal handler: the trainer finishes the steps that have begun (on a GPU the next one may
  /// have), saves a checkpoint and returns.
  const std::atomic<bool>* stop = nullptr;
};

/// Fine-tunes `adapter`, or, with options.full and no adapter, `model`, on `data`. The loss of a step is the
/// mean over all its targets, whatever `grad_accumulation` is. In `out`:
///
///     checkpoints/step-000123/   weights, optimizer, position; what `resume` continues from, bit for bit
///     best/                      the weights with the lowest validation loss (with `valid`)
///     metrics.csv, loss.svg
///     adapter_config.json, adapter_model.safetensors (config.json, model.safetensors), once training has
///     ended
///
/// A checkpoint appears whole or not at all, whenever the process is killed, and is written before older ones
/// are removed. After an exception the values in memory are unspecified, except after NumericError.
///
/// Throws ArgumentError and ConfigError for options that are out of range, contradict each other or the data,
/// or differ from those of the run to resume (all are listed); also when `out` holds checkpoints and `resume`
/// is not set, or none and it is. NumericError when a loss or gradient norm is not finite: no update was
/// made, the last checkpoint stays. FileError when `out` is in use by another run or cannot be written: the
/// last checkpoint stays. FormatError that names the file for a damaged checkpoint. DataError for data
/// without targets.
TrainResult train(Model& model, LoraAdapter* adapter, const Dataset& data, const Dataset* valid,
                  const TrainOptions& options, const TrainCallbacks& callbacks = {});

/// What an optimizer step computes on a batch of `rows` full rows of `length` tokens; nothing is computed, so
/// that a `Model::blank` will do. `adapter` is trained, or with options.full (and no adapter) the model. Of
/// the options those of the step count: adamw, max_grad_norm, label_smoothing, full,
/// gradient_checkpointing. Throws ArgumentError for
/// rows and lengths that the model does not take, and as `train` does.
Explanation explain_train_step(Model model, std::optional<LoraAdapter> adapter, const TrainOptions& options,
                               std::int64_t rows, std::int64_t length);

/// Loss of a model on a dataset: mean negative log likelihood over all targets, summed in f64.
struct EvalResult {
  double loss = 0;
  double perplexity = 0;    ///< exp(loss)
  std::int64_t tokens = 0;  ///< targets
};
/// `adapter` may be null. Rows longer than `seq_len` are cut as in training. Throws DataError when there is
/// no target, NumericError when the loss is not finite.
EvalResult evaluate(const Model& model, const LoraAdapter* adapter, const Dataset& data,
                    std::int64_t batch_size, std::int64_t seq_len);

/// Writes the logits of a tokenised .safetensors file, as it stands, to `out`: `logits`, f32 [rows, length,
/// vocab] or [steps, batch, length, vocab] after `input_ids`. Where `attention_mask` (optional) is 0, no
/// place attends. At most `batch_size` rows are computed at once. Throws FileError, FormatError, DataError
/// for ids outside the vocabulary, and MemoryError.
void write_logits(const Model& model, const LoraAdapter* adapter, const std::filesystem::path& data,
                  const std::filesystem::path& out, std::int64_t batch_size = 8);

}  // namespace wick
