#include "train/train_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/node.h"
#include "train/training_harness.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

std::vector<BatchTensors> batches_of(const Dataset& data, BatchOptions options, int count) {
  Batches batches(data, options);
  std::vector<BatchTensors> taken;
  for (int i = 0; i < count; ++i) taken.emplace_back(batches.next());
  return taken;
}

double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::vector<float> x = a[i].to_vector<float>();
    const std::vector<float> y = b[i].to_vector<float>();
    for (std::size_t k = 0; k < x.size(); ++k)
      worst = std::max(worst, static_cast<double>(std::abs(x[k] - y[k])));
  }
  return worst;
}

/// The mean loss and its gradients must not depend on how the rows are divided, although the parts differ in
/// their number of targets: f32 rounding of sums in another order is all that may differ.
TEST(TrainStep, AccumulationEqualsTheFullBatch) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const Dataset data = tiny_data(12);
  TrainStep step(model, &adapter, {});
  const auto whole = batches_of(data, {.batch_size = 12, .seq_len = 40, .shuffle = false}, 1);
  const auto [loss, gradients] = step.loss_and_gradients(whole, 0);
  for (std::int64_t size : {1, 3, 5}) {
    const auto parts = batches_of(data, {.batch_size = size, .seq_len = 40, .shuffle = false},
                                  static_cast<int>((12 + size - 1) / size));
    const auto [part_loss, part_gradients] = step.loss_and_gradients(parts, 0);
    EXPECT_NEAR(part_loss.item<float>(), loss.item<float>(), 1e-6 * loss.item<float>()) << size;
    EXPECT_LT(largest_difference(part_gradients, gradients), 1e-6) << size;
  }
}

TEST(TrainStep, LossIsTheMeanOverAllTargets) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const auto parts = batches_of(tiny_data(6), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 2);
  double sum = 0;
  std::int64_t targets = 0;
  for (const BatchTensors& part : parts) {
    sum += static_cast<double>(batch_loss(model, &adapter, part).item<float>());
    targets += part.target_tokens;
  }
  ASSERT_NE(parts[0].target_tokens, parts[1].target_tokens);
  TrainStep step(model, &adapter, {});
  EXPECT_NEAR(step.run(parts, 0, 0.0).loss, sum / static_cast<double>(targets), 1e-5);
}

TEST(TrainStep, PackedDocumentsDoNotSeeEachOther) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const Dataset data = tiny_data(10);
  const auto apart = batches_of(data, {.batch_size = 10, .seq_len = 40, .shuffle = false}, 1);
  const BatchOptions packing{.batch_size = 10, .seq_len = 60, .shuffle = false, .packing = true};
  const auto packed = batches_of(data, packing, 1);
  ASSERT_LT(packed[0].ids.dim(0), apart[0].ids.dim(0));
  ASSERT_EQ(packed[0].target_tokens, apart[0].target_tokens);
  TrainStep step(model, &adapter, {});
  const auto [loss, gradients] = step.loss_and_gradients(apart, 0);
  const auto [packed_loss, packed_gradients] = step.loss_and_gradients(packed, 0);
  EXPECT_NEAR(packed_loss.item<float>(), loss.item<float>(), 1e-6 * loss.item<float>());
  EXPECT_LT(largest_difference(packed_gradients, gradients), 1e-6);
}

TEST(TrainStep, DropoutDependsOnSeedAndMicroBatchOnly) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model, 0.5);
  const auto batch = batches_of(tiny_data(3), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 1);
  const auto loss = [&](std::uint64_t seed, std::int64_t micro_batch) {
    return TrainStep(model, &adapter, {.adamw = {}, .seed = seed})
        .loss_and_gradients(batch, micro_batch)
        .first.item<float>();
  };
  EXPECT_EQ(loss(1, 4), loss(1, 4));
  EXPECT_NE(loss(1, 4), loss(1, 5));
  EXPECT_NE(loss(1, 4), loss(2, 4));
}

TEST(TrainStep, UpdatesRunInPlaceAndReuseTheirPlan) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const auto batch = batches_of(tiny_data(3), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 1);
  TrainStep step(model, &adapter, {});
  const double first = step.run(batch, 0, 1e-2).loss;
  step.run(batch, 1, 1e-2);
  const auto buffers = [&] {
    std::vector<const std::byte*> found;
    for (const Tensor& t : step.trainables().values()) found.push_back(t.node()->value()->storage->data());
    for (const Tensor& t : step.optimizer().pending()) found.push_back(t.node()->value()->storage->data());
    return found;
  };
  const auto before = buffers();
  const std::uint64_t misses = plan_cache_stats().misses;
  double last = first;
  for (int i = 2; i < 20; ++i) last = step.run(batch, i, 1e-2 / i).loss;
  EXPECT_EQ(plan_cache_stats().misses, misses);
  EXPECT_EQ(buffers(), before);
  EXPECT_LT(last, first);
}

/// The values of all parameters, copied.
std::vector<std::vector<float>> values_of(TrainStep& step) {
  std::vector<std::vector<float>> values;
  for (const Tensor& t : step.trainables().values()) values.push_back(t.to_vector<float>());
  return values;
}

TEST(TrainStep, StepsThatRunAheadAreTheSame) {
  Model model = tiny_model();
  const auto batches = batches_of(tiny_data(12), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 4);
  LoraAdapter one_by_one = tiny_adapter(model);
  TrainStep waiting(model, &one_by_one, {});
  std::vector<TrainStep::Outcome> expected;
  for (int i = 0; i < 8; ++i)
    expected.push_back(waiting.run(std::span(batches).subspan(static_cast<std::size_t>(i % 4), 1), i, 1e-2));

  LoraAdapter ahead = tiny_adapter(model);
  TrainStep running(model, &ahead, {});
  std::vector<TrainStep::Running> steps;
  for (int i = 0; i < 8; ++i)
    steps.push_back(running.submit(std::span(batches).subspan(static_cast<std::size_t>(i % 4), 1), i, 1e-2,
                                   i == 0 ? nullptr : &steps.back()));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].outcome().loss, expected[i].loss) << i;
    EXPECT_EQ(steps[i].outcome().grad_norm, expected[i].grad_norm) << i;
  }
  EXPECT_EQ(values_of(running), values_of(waiting));
}

TEST(TrainStep, BehindAnUpdateThatWasNotMadeNoneIs) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  const auto batch = batches_of(tiny_data(3), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 1);
  TrainStep step(model, &adapter, {});
  TrainStep::Running earlier = step.submit(batch, 0, 1e-2);
  earlier.made = full({}, 0, DType::bool_);
  const auto before = values_of(step);
  const TrainStep::Running later = step.submit(batch, 1, 1e-2, &earlier);
  EXPECT_TRUE(std::isfinite(later.outcome().loss));
  EXPECT_FALSE(later.made.item<bool>());
  EXPECT_EQ(values_of(step), before);
  (void)step.run(batch, 2, 1e-2);
  EXPECT_NE(values_of(step), before);
}

TEST(TrainStep, LabelSmoothingMixesInTheMeanOverAllClasses) {
  Model model = tiny_model();
  const auto batch = batches_of(tiny_data(3), {.batch_size = 3, .seq_len = 40, .shuffle = false}, 1)[0];
  const auto nll = static_cast<double>(batch_loss(model, nullptr, batch).item<float>());
  const auto all = static_cast<double>(batch_loss(model, nullptr, batch, {1.0, {}}).item<float>());
  const auto smoothed = static_cast<double>(batch_loss(model, nullptr, batch, {0.1, {}}).item<float>());
  EXPECT_NEAR(smoothed, 0.9 * nll + 0.1 * all, 1e-5 * nll);
}

}  // namespace
}  // namespace wick
