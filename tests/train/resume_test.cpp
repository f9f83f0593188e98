#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "io/file_lock.h"
#include "support/test_device.h"
#include "train/training_harness.h"
#include "wick/error.h"
#include "wick/trainer.h"

namespace wick {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// Options that use everything that a checkpoint must keep: shuffling, accumulation, dropout, a schedule,
/// validation.
TrainOptions demanding_options(const fs::path& out) {
  TrainOptions options = tiny_options(out, 20);
  options.grad_accumulation = 2;
  options.schedule = "cosine";
  options.warmup = 3;
  options.eval_every = 4;
  return options;
}

constexpr double dropout = 0.2;

TrainResult train_adapter(const TrainOptions& options, const TrainCallbacks& callbacks = {},
                          const Dataset& data = tiny_data(23)) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model, dropout);
  const Dataset valid = tiny_data(5, 99);
  return train(model, &adapter, data, &valid, options, callbacks);
}

/// Stops a run after `step`, on a GPU perhaps after the one behind it, which has begun.
class StopAfter {
 public:
  explicit StopAfter(std::int64_t step) {
    callbacks_.stop = &stop_;
    callbacks_.on_step = [this, step](const StepMetrics& metrics) { stop_ = metrics.step >= step; };
  }
  const TrainCallbacks& callbacks() const { return callbacks_; }

 private:
  std::atomic<bool> stop_ = false;
  TrainCallbacks callbacks_;
};

/// Metrics without the columns that time and memory decide.
std::string stable_columns(const fs::path& csv) {
  std::string kept;
  std::istringstream lines(read_text(csv));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int column = 0; std::getline(fields, field, ','); ++column)
      if (column != 5 && column != 6) kept += field + ",";
    kept += "\n";
  }
  return kept;
}

TEST(Resume, EqualsTheUninterruptedRunBitForBit) {
  const TemporaryDirectory whole;
  const TrainResult expected = train_adapter(demanding_options(whole.path()));
  EXPECT_EQ(expected.finish_reason, "done");

  const TemporaryDirectory pieces;
  TrainOptions options = demanding_options(pieces.path());
  // An epoch has 4 steps: stops in the middle of one, at its end, and in the warm-up.
  for (std::int64_t stop : {2, 7, 8, 13}) {
    const TrainResult part = train_adapter(options, StopAfter(stop).callbacks());
    EXPECT_EQ(part.finish_reason, "interrupted");
    EXPECT_GE(part.steps, stop);
    if (test::test_device() == cpu) {
      EXPECT_EQ(part.steps, stop);
    }
    EXPECT_FALSE(fs::exists(pieces.path() / "adapter_model.safetensors"));
    options.resume = true;
  }
  const TrainResult last = train_adapter(options);
  EXPECT_EQ(last.finish_reason, "done");
  EXPECT_EQ(last.final_loss, expected.final_loss);
  EXPECT_EQ(last.best_valid_loss, expected.best_valid_loss);
  EXPECT_EQ(last.best_step, expected.best_step);
  for (const char* file :
       {"adapter_model.safetensors", "adapter_config.json", "best/adapter_model.safetensors",
        "checkpoints/step-000020/optimizer.safetensors", "checkpoints/step-000020/state.json"})
    EXPECT_TRUE(read_text(whole.path() / file) == read_text(pieces.path() / file)) << file;
  EXPECT_EQ(stable_columns(whole.path() / "metrics.csv"), stable_columns(pieces.path() / "metrics.csv"));
}

TEST(Resume, AllParametersToo) {
  const auto train_all = [](const TrainOptions& options, const TrainCallbacks& callbacks = {}) {
    Model model = tiny_model(options.resume ? 77 : 1);  // the checkpoint's weights must replace these
    return train(model, nullptr, tiny_data(23), nullptr, options, callbacks);
  };
  const TemporaryDirectory whole;
  const TemporaryDirectory pieces;
  TrainOptions options = tiny_options(whole.path(), 6);
  options.full = true;
  train_all(options);
  options.out = pieces.path();
  train_all(options, StopAfter(3).callbacks());
  options.resume = true;
  train_all(options);
  EXPECT_TRUE(read_text(whole.path() / "model.safetensors") ==
              read_text(pieces.path() / "model.safetensors"));
  EXPECT_TRUE(fs::exists(whole.path() / "config.json"));
}

TEST(Resume, OfAFinishedRunChangesNothing) {
  const TemporaryDirectory directory;
  TrainOptions options = demanding_options(directory.path());
  train_adapter(options);
  const std::string weights = read_text(directory.path() / "adapter_model.safetensors");
  options.resume = true;
  EXPECT_EQ(train_adapter(options).finish_reason, "done");
  EXPECT_TRUE(read_text(directory.path() / "adapter_model.safetensors") == weights);
}

TEST(Resume, ProlongsARunWithConstantLearningRate) {
  const TemporaryDirectory whole;
  const TemporaryDirectory pieces;
  train_adapter(tiny_options(whole.path(), 9));
  TrainOptions options = tiny_options(pieces.path(), 4);
  train_adapter(options);
  options.steps = 9;
  options.resume = true;
  EXPECT_EQ(train_adapter(options).steps, 9);
  EXPECT_TRUE(read_text(whole.path() / "adapter_model.safetensors") ==
              read_text(pieces.path() / "adapter_model.safetensors"));
}

TEST(Resume, RefusesOtherSettingsAndDataByName) {
  const TemporaryDirectory directory;
  TrainOptions options = demanding_options(directory.path());
  const std::int64_t steps = train_adapter(options, StopAfter(2).callbacks()).steps;
  options.resume = true;
  const auto refusal = [&](const TrainOptions& changed, const Dataset& data) {
    return message_of<ConfigError>([&] { train_adapter(changed, {}, data); });
  };
  TrainOptions changed = options;
  changed.batch_size = 4;
  changed.learning_rate = 1e-3;
  changed.steps = 30;
  EXPECT_THAT(refusal(changed, tiny_data(23)),
              AllOf(HasSubstr("step-00000" + std::to_string(steps) + " began with other settings or data"),
                    HasSubstr("\n  batch_size: 3 there, 4 now"),
                    HasSubstr("\n  learning_rate: 0.01 there, 0.001 now"),
                    HasSubstr("\n  total_steps: 20 there, 30 now"), Not(HasSubstr("data:"))));
  EXPECT_THAT(refusal(options, tiny_data(23, 2)),
              AllOf(HasSubstr("\n  data: "), Not(HasSubstr("batch_size"))));

  Model other_model = tiny_model(2);
  LoraConfig config = tiny_adapter(other_model).config();
  config.rank = 2;
  LoraAdapter other_adapter = LoraAdapter::create(other_model, config, 1);
  const Dataset valid = tiny_data(5, 99);
  EXPECT_THAT(
      message_of<ConfigError>([&] { train(other_model, &other_adapter, tiny_data(23), &valid, options); }),
      AllOf(HasSubstr("\n  adapter/r: 4 there, 2 now"),
            HasSubstr("\n  adapter/lora_dropout: 0.2 there, 0.0 now"), HasSubstr("\n  model: ")));
}

TEST(Resume, NeedsACheckpointAndAFreshRunNeedsNone) {
  const TemporaryDirectory directory;
  TrainOptions options = demanding_options(directory.path());
  options.resume = true;
  EXPECT_THAT(message_of<ArgumentError>([&] { train_adapter(options); }),
              HasSubstr("holds no checkpoint to resume from"));
  options.resume = false;
  train_adapter(options, StopAfter(1).callbacks());
  EXPECT_THAT(message_of<ArgumentError>([&] { train_adapter(options); }),
              HasSubstr("holds checkpoints of an earlier run"));
}

TEST(Resume, FindsAFlippedBitAndNamesTheIntactCheckpoint) {
  const TemporaryDirectory directory;
  TrainOptions options = demanding_options(directory.path());
  options.save_every = 2;
  options.keep_checkpoints = 3;
  train_adapter(options, StopAfter(6).callbacks());
  options.resume = true;
  const fs::path checkpoints = directory.path() / "checkpoints";
  for (const char* name : {"adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors",
                           "state.json", "manifest.txt"}) {
    const fs::path file = checkpoints / "step-000006" / name;
    flip_bit(file, fs::file_size(file) / 2);
    EXPECT_THAT(message_of<FormatError>([&] { train_adapter(options); }),
                AllOf(HasSubstr(file.string() + " is damaged"),
                      HasSubstr((checkpoints / "step-000004").string() + " is intact")));
    flip_bit(file, fs::file_size(file) / 2);
  }
  EXPECT_EQ(train_adapter(options).finish_reason, "done");
}

TEST(Resume, GoesOnFromTheIntactCheckpointOnceTheDamagedOneIsRemoved) {
  const TemporaryDirectory whole;
  train_adapter(demanding_options(whole.path()));
  const TemporaryDirectory directory;
  TrainOptions options = demanding_options(directory.path());
  options.save_every = 2;
  train_adapter(options, StopAfter(6).callbacks());
  fs::remove_all(directory.path() / "checkpoints" / "step-000006");
  options.resume = true;
  train_adapter(options);
  EXPECT_TRUE(read_text(whole.path() / "adapter_model.safetensors") ==
              read_text(directory.path() / "adapter_model.safetensors"));
  EXPECT_EQ(stable_columns(whole.path() / "metrics.csv"), stable_columns(directory.path() / "metrics.csv"));
}

}  // namespace
}  // namespace wick
