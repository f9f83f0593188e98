#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "wick/dataset.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/optimizer.h"
#include "wick/schedule.h"

namespace wick {

/// Everything that decides a training run; kept in checkpoints, and compared on resume.
struct TrainOptions {
  std::int64_t steps = 0;   ///< optimizer steps; 0: as `epochs` says
  double epochs = 1;        ///< passes over the data, when steps is 0
  std::int64_t batch_size = 8;
  std::int64_t grad_accumulation = 1;
  std::int64_t seq_len = 512;
  double learning_rate = 2e-4;
  std::string schedule = "cosine";  ///< constant, linear, cosine
  std::int64_t warmup = 0;          ///< optimizer steps
  AdamWOptions adamw;
  double max_grad_norm = 1.0;       ///< 0: no clipping
  double label_smoothing = 0;
  std::uint64_t seed = 0;
  bool full = false;                ///< train all parameters instead of an adapter
  bool shuffle = true;
  bool packing = false;
  std::int64_t save_every = 0;      ///< steps between checkpoints; 0: only at the end and when stopped
  std::int64_t eval_every = 0;      ///< steps between validations; 0: only at the end
  std::int64_t patience = 0;        ///< stop after so many validations without improvement; 0: never
  std::int64_t keep_checkpoints = 2;
  std::filesystem::path out;        ///< output directory
  bool resume = false;
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

struct TrainResult {
  std::int64_t steps = 0;
  double final_loss = 0;
  std::optional<double> best_valid_loss;
  std::int64_t best_step = 0;
  std::string finish_reason;  ///< "done", "interrupted", "early-stop"
};

struct TrainCallbacks {
  std::function<void(const StepMetrics&)> on_step;
  std::function<void(const std::string&)> on_message;
  /// Set from a signal handler: the trainer finishes the step, saves a checkpoint and returns.
  const std::atomic<bool>* stop = nullptr;
};

/// Fine-tunes `adapter` (or, with options.full, `model`) on `data`. The output directory gets checkpoints, metrics.csv,
/// loss.svg and, at the end, the adapter (PEFT) or the model. Throws NumericError when a loss or gradient norm is not
/// finite (no update was made, the last checkpoint stays), DataError / FileError / FormatError as documented there.
TrainResult train(Model& model, LoraAdapter* adapter, const Dataset& data, const Dataset* valid,
                  const TrainOptions& options, const TrainCallbacks& callbacks = {});

/// Loss of a model on a dataset: mean negative log likelihood over all targets.
struct EvalResult {
  double loss = 0;
  double perplexity = 0;  ///< exp(loss)
  std::int64_t tokens = 0;
};
EvalResult evaluate(const Model& model, const LoraAdapter* adapter, const Dataset& data, std::int64_t batch_size,
                    std::int64_t seq_len);

}  // namespace wick
