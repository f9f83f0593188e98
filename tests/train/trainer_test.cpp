#include "wick/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "io/file_lock.h"
#include "train/training_harness.h"
#include "wick/error.h"

namespace wick {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Recorder {
  std::vector<StepMetrics> steps;
  std::string messages;
  TrainCallbacks callbacks{.on_step = [this](const StepMetrics& m) { steps.push_back(m); },
                           .on_message = [this](const std::string& m) { messages += m + "\n"; }};
};

TEST(Trainer, LearnsAndLeavesWhatItPromises) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const Dataset valid = tiny_data(4, 9);
  TrainOptions options = tiny_options(directory.path(), 12);
  options.eval_every = 5;
  options.save_every = 4;
  Recorder recorder;
  const TrainResult result = train(model, &adapter, tiny_data(9), &valid, options, recorder.callbacks);

  EXPECT_EQ(result.steps, 12);
  EXPECT_EQ(result.finish_reason, "done");
  ASSERT_EQ(recorder.steps.size(), 12U);
  EXPECT_LT(result.final_loss, recorder.steps[0].loss);
  EXPECT_EQ(recorder.steps[11].loss, result.final_loss);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(recorder.steps[i].step, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(recorder.steps[i].valid_loss.has_value(), i == 4 || i == 9 || i == 11);
    EXPECT_GT(recorder.steps[i].tokens_per_second, 0);
    EXPECT_GT(recorder.steps[i].peak_bytes, 0U);
  }
  EXPECT_EQ(recorder.steps[2].epoch, 1.0);
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "best/adapter_config.json",
                           "best/adapter_model.safetensors", "metrics.csv", "loss.svg",
                           "checkpoints/step-000008/state.json", "checkpoints/step-000012/state.json"})
    EXPECT_TRUE(fs::exists(directory.path() / file)) << file;
  EXPECT_FALSE(fs::exists(directory.path() / "checkpoints" / "step-000004"));
  // The adapter on disk is the one in memory.
  const LoraAdapter loaded = LoraAdapter::load(directory.path(), model);
  EXPECT_EQ(loaded.parameters()[0].second.to_vector<float>(),
            adapter.parameters()[0].second.to_vector<float>());
  // The best one has the loss that was told.
  const LoraAdapter best = LoraAdapter::load(directory.path() / "best", model);
  EXPECT_EQ(evaluate(model, &best, valid, 3, 32).loss, result.best_valid_loss);
}

TEST(Trainer, EpochsSayHowManySteps) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  TrainOptions options = tiny_options(directory.path(), 0);
  options.epochs = 1.5;
  options.grad_accumulation = 2;  // 12 rows are 4 batches, 6 of them in 1.5 epochs
  EXPECT_EQ(train(model, &adapter, tiny_data(12), nullptr, options).steps, 3);
}

TEST(Trainer, StopsEarlyWhenValidationDoesNotImprove) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const Dataset valid = tiny_data(4, 9);  // random text: what is learned does not carry over
  TrainOptions options = tiny_options(directory.path(), 200);
  options.learning_rate = 0.05;
  options.eval_every = 2;
  options.patience = 3;
  const TrainResult result = train(model, &adapter, tiny_data(6), &valid, options);
  EXPECT_EQ(result.finish_reason, "early-stop");
  EXPECT_EQ(result.steps, result.best_step + 6);
  EXPECT_TRUE(fs::exists(directory.path() / "adapter_model.safetensors"));
}

TEST(Trainer, ANonFiniteLossMakesNoUpdateAndKeepsTheCheckpoint) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  // Token 63 occurs only in step 3, and its embedding is not a number.
  std::vector<float> table = model.parameter("model.embed_tokens.weight").to_vector<float>();
  table[63 * 32] = std::numeric_limits<float>::quiet_NaN();
  model.set_parameter("model.embed_tokens.weight", Tensor::from(table, {64, 32}));
  std::vector<std::int64_t> ids(4 * 2 * 8, 5);
  ids[2 * 16 + 3] = 63;
  const Dataset data = grid_data(directory.path() / "data.safetensors", {4, 2, 8}, ids, ids);
  TrainOptions options = tiny_options(directory.path() / "out", 4);
  options.shuffle = false;
  options.save_every = 1;
  const std::string message =
      message_of<NumericError>([&] { train(model, &adapter, data, nullptr, options); });
  EXPECT_THAT(message, HasSubstr("step 3: the loss is nan"));
  EXPECT_THAT(message, HasSubstr("no update was made. The last checkpoint is "));
  EXPECT_THAT(message, HasSubstr("step-000002"));
  EXPECT_FALSE(fs::exists(options.out / "adapter_model.safetensors"));
  const LoraAdapter kept = LoraAdapter::load(options.out / "checkpoints" / "step-000002", model);
  for (std::size_t i = 0; i < kept.parameters().size(); ++i)
    EXPECT_EQ(kept.parameters()[i].second.to_vector<float>(),
              adapter.parameters()[i].second.to_vector<float>());
}

/// Step 3 fails while it runs and the data of step 4 are assembled.
TEST(Trainer, AnErrorInFlightEndsTheRunAndKeepsTheCheckpoint) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  std::vector<std::int64_t> ids(4 * 2 * 8, 5);
  ids[2 * 16 + 3] = 64;  // beyond the vocabulary
  const Dataset data = grid_data(directory.path() / "data.safetensors", {4, 2, 8}, ids, ids);
  TrainOptions options = tiny_options(directory.path() / "out", 4);
  options.shuffle = false;
  options.save_every = 1;
  EXPECT_THAT(message_of<ArgumentError>([&] { train(model, &adapter, data, nullptr, options); }),
              HasSubstr("64"));
  EXPECT_FALSE(fs::exists(options.out / "adapter_model.safetensors"));
  EXPECT_NO_THROW(LoraAdapter::load(options.out / "checkpoints" / "step-000002", model));
  EXPECT_FALSE(fs::exists(options.out / "checkpoints" / "step-000003"));
}

TEST(Trainer, SkipsAndCountsStepsWithoutTargets) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const std::vector<std::int64_t> ids(3 * 2 * 8, 5);
  std::vector<std::int64_t> labels = ids;
  std::fill(labels.begin() + 16, labels.begin() + 32, -100);
  const Dataset data = grid_data(directory.path() / "data.safetensors", {3, 2, 8}, ids, labels);
  TrainOptions options = tiny_options(directory.path() / "out", 3);
  options.shuffle = false;
  Recorder recorder;
  const TrainResult result = train(model, &adapter, data, nullptr, options, recorder.callbacks);
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(result.skipped_steps, 1);
  ASSERT_EQ(recorder.steps.size(), 2U);
  EXPECT_EQ(recorder.steps[1].step, 3);
  EXPECT_TRUE(std::isfinite(result.final_loss));
  EXPECT_THAT(recorder.messages, HasSubstr("Step 2 was skipped: none of its tokens is to be learned."));
}

TEST(Trainer, RefusesDataWithoutAnyTarget) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const std::vector<std::int64_t> ids(2 * 2 * 8, 5);
  const Dataset data = grid_data(directory.path() / "data.safetensors", {2, 2, 8}, ids,
                                 std::vector<std::int64_t>(ids.size(), -100));
  TrainOptions options = tiny_options(directory.path() / "out", 2);
  EXPECT_THROW(train(model, &adapter, data, nullptr, options), DataError);
  options.shuffle = false;
  EXPECT_THROW(train(model, &adapter, data, nullptr, options), DataError);
  EXPECT_THROW(evaluate(model, &adapter, data, 2, 8), DataError);
}

TEST(Trainer, RefusesADirectoryThatAnotherTrainerUses) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const TrainOptions options = tiny_options(directory.path(), 2);
  {
    const DirectoryLock other(directory.path());
    EXPECT_THAT(message_of<FileError>([&] { train(model, &adapter, tiny_data(5), nullptr, options); }),
                HasSubstr("is in use by"));
  }
  EXPECT_EQ(train(model, &adapter, tiny_data(5), nullptr, options).finish_reason, "done");
}

TEST(Trainer, AFullDiskLeavesTheLastCheckpointLoadable) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  TrainOptions options = tiny_options(directory.path(), 6);
  options.save_every = 1;
  std::optional<FileSizeLimit> limit;
  TrainCallbacks callbacks;
  // The adapter still fits then, the optimizer's state does not.
  callbacks.on_step = [&](const StepMetrics& m) {
    if (m.step == 3)
      limit.emplace(fs::file_size(options.out / "checkpoints/step-000002/optimizer.safetensors") - 1);
  };
  const std::string message =
      message_of<FileError>([&] { train(model, &adapter, tiny_data(8), nullptr, options, callbacks); });
  limit.reset();
  EXPECT_THAT(message, HasSubstr("optimizer.safetensors"));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(directory.path() / "checkpoints"))
    left.push_back(entry.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_THAT(left, ElementsAre("step-000001", "step-000002"));
  options.resume = true;
  EXPECT_EQ(train(model, &adapter, tiny_data(8), nullptr, options).steps, 6);
}

/// A killed process leaves its temporary files; one that runs may still be writing.
TEST(Trainer, RemovesTemporaryFilesThatAKillLeft) {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "best");
  const std::string gone = std::to_string(std::numeric_limits<pid_t>::max());
  const std::string here = std::to_string(::getpid());
  const std::string alive = std::to_string(::getppid());
  const fs::path stale[] = {directory.write(".adapter_model.safetensors.tmp-" + gone + "-3", "half"),
                            directory.write(".loss.svg.tmp-" + here + "-12", "half"),
                            directory.write("best/.adapter_config.json.tmp-" + gone + "-0", "{")};
  const fs::path kept[] = {directory.write(".adapter_model.safetensors.tmp-" + alive + "-3", "half"),
                           directory.write(".notes.tmp-" + gone, "mine"),
                           directory.write(".tmp-1-2-x", "mine"),
                           directory.write("adapter.tmp-" + gone + "-1", "mine")};
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  train(model, &adapter, tiny_data(5), nullptr, tiny_options(directory.path(), 1));
  for (const fs::path& path : stale) EXPECT_FALSE(fs::exists(path)) << path;
  for (const fs::path& path : kept) EXPECT_TRUE(fs::exists(path)) << path;
}

/// The next step's data are taken while a step runs; a checkpoint knows only what was learned.
TEST(Trainer, APositionDoesNotCountDataThatWerePrepared) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  std::atomic<bool> stop = false;
  TrainCallbacks callbacks;
  callbacks.stop = &stop;
  callbacks.on_step = [&](const StepMetrics& m) { stop = m.step >= 3; };
  const TrainResult result =
      train(model, &adapter, tiny_data(30), nullptr, tiny_options(directory.path(), 8), callbacks);
  EXPECT_EQ(result.finish_reason, "interrupted");
  const std::string steps = std::to_string(result.steps);
  EXPECT_THAT(read_text(directory / ("checkpoints/step-00000" + steps) / "state.json"),
              HasSubstr("\"batch_of_epoch\": " + steps));
}

TEST(Trainer, GradientCheckpointingTrainsTheSameBitsAndMayBeSwitchedOnResume) {
  const TemporaryDirectory plain;
  const TemporaryDirectory checkpointed;
  const auto run = [](const fs::path& out, std::int64_t steps, bool checkpointing, bool resume) {
    Model model = tiny_model();
    LoraAdapter adapter = tiny_adapter(model, 0.1);
    TrainOptions options = tiny_options(out, steps);
    options.grad_accumulation = 2;
    options.gradient_checkpointing = checkpointing;
    options.resume = resume;
    train(model, &adapter, tiny_data(20), nullptr, options);
  };
  run(plain.path(), 6, false, false);
  run(checkpointed.path(), 4, true, false);
  run(checkpointed.path(), 6, false, true);
  EXPECT_TRUE(read_text(plain / "adapter_model.safetensors") ==
              read_text(checkpointed / "adapter_model.safetensors"));
}

TEST(Trainer, RefusesContradictingOptions) {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const Dataset data = tiny_data(5);
  const auto refusal = [&](auto change, LoraAdapter* trained) {
    TrainOptions options = tiny_options(directory.path(), 2);
    change(options);
    return message_of<ArgumentError>([&] { train(model, trained, data, nullptr, options); });
  };
  EXPECT_THAT(refusal([](TrainOptions& o) { o.full = true; }, &adapter), HasSubstr("exclude each other"));
  EXPECT_THAT(refusal([](TrainOptions&) {}, nullptr), HasSubstr("needs an adapter"));
  EXPECT_THAT(refusal([](TrainOptions& o) { o.grad_accumulation = 0; }, &adapter),
              HasSubstr("at least 1, it is 0"));
  EXPECT_THAT(refusal([](TrainOptions& o) { o.schedule = "square"; }, &adapter), HasSubstr("square"));
  EXPECT_THAT(refusal([](TrainOptions& o) { o.seq_len = 65; }, &adapter),
              HasSubstr("rows of 65 tokens do not fit the model's 64 positions"));
  EXPECT_THAT(refusal([](TrainOptions& o) { o.steps = 0, o.epochs = -1; }, &adapter), HasSubstr("epochs"));
  Model narrow = Model::random(model.config(), 1, DType::bf16);
  TrainOptions options = tiny_options(directory.path(), 2);
  options.full = true;
  EXPECT_THAT(message_of<ConfigError>([&] { train(narrow, nullptr, data, nullptr, options); }),
              HasSubstr("the model is bf16: load it as f32"));
}

TEST(Trainer, TrainsAnAdapterOnABf16Base) {
  const TemporaryDirectory directory;
  Model model = Model::random(tiny_model().config(), 1, DType::bf16);
  LoraAdapter adapter = tiny_adapter(model);
  Recorder recorder;
  const TrainResult result =
      train(model, &adapter, tiny_data(3), nullptr, tiny_options(directory.path(), 15), recorder.callbacks);
  EXPECT_LT(result.final_loss, recorder.steps[0].loss);
}

}  // namespace
}  // namespace wick
