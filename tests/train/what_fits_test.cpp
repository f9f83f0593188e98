// What a training step that is refused memory says would fit is true: it trains, and a row more does not.
#include "train/what_fits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "support/test_device.h"
#include "train/training_harness.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/memory.h"

namespace wick {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t rows = 8;
constexpr std::int64_t length = 32;

Model deep_model() {
  ModelConfig config = tiny_model().config();
  config.layers = 12;
  return Model::random(config, 1, DType::f32, test::test_device());
}

std::uint64_t planned_bytes(bool full, std::int64_t batch_rows, bool checkpointing) {
  Model model = deep_model();
  std::optional<LoraAdapter> adapter;
  if (!full) adapter = tiny_adapter(model);
  TrainStepOptions options;
  options.gradient_checkpointing = checkpointing;
  TrainStep step(model, adapter ? &*adapter : nullptr, options);
  const BatchTensors batch(full_batch(batch_rows, length));
  return step.planned_bytes({&batch, 1});
}

/// What the optimizer keeps.
std::uint64_t moment_bytes(bool full) {
  Model model = deep_model();
  std::optional<LoraAdapter> adapter;
  if (!full) adapter = tiny_adapter(model);
  std::uint64_t bytes = 0;
  for (const Tensor& value : Trainables(model, adapter ? &*adapter : nullptr).values())
    bytes += 2 * value.bytes();
  return bytes;
}

/// Documents of one length, as many as make full batches of any size up to eight.
Dataset even_data() {
  std::string lines;
  for (int i = 0; i < 840; ++i) lines += "{\"text\": \"once upon a time there\"}\n";
  TextEncoder encoder;
  encoder.eos = 1;
  encoder.encode = [](std::string_view text) { return std::vector<std::int32_t>(text.size(), 5); };
  return Dataset::parse_jsonl(lines, "even.jsonl", encoder);
}

std::uint64_t held() {
  release_kept_memory(test::test_device());
  return backend_for(test::test_device()).memory_use().held;
}

/// What a run of one step says when it is refused, under a limit beyond what is held before; else nothing.
std::string refusal(bool full, std::int64_t batch_rows, bool checkpointing, std::uint64_t limit) {
  const std::uint64_t at_first = held();
  std::string text;
  {
    const TemporaryDirectory directory;
    Model model = deep_model();
    std::optional<LoraAdapter> adapter;
    if (!full) adapter = tiny_adapter(model);
    TrainOptions options = tiny_options(directory.path(), 1);
    options.batch_size = batch_rows;
    options.seq_len = length;
    options.full = full;
    options.gradient_checkpointing = checkpointing;
    const Dataset data = even_data();
    set_memory_limit(held() + limit);
    try {
      train(model, adapter ? &*adapter : nullptr, data, nullptr, options);
    } catch (const MemoryError& e) {
      text = e.what();
    }
    set_memory_limit(std::nullopt);
  }
  // Nothing is left allocated but constants of the plans that are kept: some numbers each.
  EXPECT_LE(held(), at_first + 4096);
  return text;
}

/// The number of rows that `text` names before `then`.
std::int64_t rows_named(const std::string& text, const std::string& then) {
  std::smatch found;
  return std::regex_search(text, found, std::regex("--batch-size (\\d+)" + then)) ? std::stoll(found[1]) : 0;
}

class WhatFits : public ::testing::TestWithParam<bool> {};

TEST_P(WhatFits, TrainsAndOneRowMoreDoesNot) {
  const bool full = GetParam();
  const std::uint64_t limit =
      moment_bytes(full) + planned_bytes(full, 3, false) + planned_bytes(full, 1, true) / 2;
  ASSERT_LT(limit, moment_bytes(full) + planned_bytes(full, rows, false));
  const std::string text = refusal(full, rows, false, limit);
  EXPECT_THAT(text, HasSubstr("this evaluation plans "));
  EXPECT_THAT(text, HasSubstr("For rows of 32 tokens would fit: --batch-size "));
  const std::int64_t kept = rows_named(text, " \\(");
  const std::int64_t again = rows_named(text, " with --gradient-checkpointing");
  ASSERT_GE(kept, 1) << text;
  ASSERT_GT(again, kept) << text;
  EXPECT_EQ(refusal(full, kept, false, limit), "") << text;
  EXPECT_THAT(refusal(full, kept + 1, false, limit), HasSubstr("would fit")) << text;
  EXPECT_EQ(refusal(full, again, true, limit), "") << text;
}

INSTANTIATE_TEST_SUITE_P(Trained, WhatFits, ::testing::Values(false, true),
                         [](const auto& i) { return i.param ? "full" : "adapter"; });

TEST(WhatFitsAnAdapter, IsSometimesNothing) {
  const std::uint64_t least = planned_bytes(false, 1, true);
  const std::string text = refusal(false, rows, false, moment_bytes(false) + least * 3 / 4);
  EXPECT_THAT(
      text,
      HasSubstr("For rows of 32 tokens not even --batch-size 1 with --gradient-checkpointing would fit ("));
  const std::string checkpointed =
      refusal(false, rows, true, moment_bytes(false) + planned_bytes(false, 2, true));
  EXPECT_THAT(checkpointed, HasSubstr(" with --gradient-checkpointing ("));
  EXPECT_THAT(checkpointed, Not(HasSubstr(", or "))) << "it does already";
}

TEST(WhatFitsAnAdapter, RowsOfAFileAreAsTheyStand) {
  Model model = deep_model();
  LoraAdapter adapter = tiny_adapter(model);
  const std::uint64_t needed = planned_bytes(false, rows, true);
  set_memory_limit(backend_for(test::test_device()).memory_use().held + 2 * needed);
  const StepShape shape{.rows = rows, .length = length, .rows_are_fixed = true};
  EXPECT_THAT(what_would_fit(model, &adapter, {}, shape),
              HasSubstr("would fit: 8 rows with --gradient-checkpointing ("));
  set_memory_limit(backend_for(test::test_device()).memory_use().held + needed / 2);
  EXPECT_THAT(what_would_fit(model, &adapter, {}, shape), HasSubstr("not even 8 rows with"));
  set_memory_limit(std::nullopt);
}

}  // namespace
}  // namespace wick
