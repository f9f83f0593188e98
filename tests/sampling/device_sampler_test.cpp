// The sampler that is made of ops against the one on the host, whose own tests compare it with definitions.
#include "generate/device_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "support/test_device.h"
#include "wick/eval.h"

namespace wick {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t count, unsigned seed, float spread = 4) {
  std::mt19937 generator(seed);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = spread * (static_cast<float>(generator() % 2000) / 1000.0f - 1.0f);
  return logits;
}

Tensor on_device(const std::vector<float>& logits) {
  return Tensor::from(logits, {1, static_cast<std::int64_t>(logits.size())}).to(test::test_device());
}

SampledToken next(DeviceSampler& sampler, const std::vector<float>& logits) {
  const Choice choice = sampler.choose(on_device(logits));
  std::vector<Tensor> outputs{choice.id, choice.numbers};
  if (sampler.seen().defined()) outputs.push_back(sampler.seen());
  eval(outputs, History::drop);
  const SampledToken token = choice.read();
  EXPECT_EQ(choice.id.to_vector<std::int64_t>(), std::vector<std::int64_t>{token.id});
  return token;
}

/// Several draws, each from other logits; the history grows by what was chosen.
void expect_the_hosts_tokens(const SamplingOptions& options, std::size_t vocabulary, int draws = 12) {
  std::vector<std::int32_t> history{0, static_cast<std::int32_t>(vocabulary) - 1, 0};
  Sampler host(options);
  DeviceSampler device(options, history, static_cast<std::int64_t>(vocabulary));
  for (int i = 0; i < draws; ++i) {
    const std::vector<float> logits = random_logits(vocabulary, static_cast<unsigned>(i));
    const SampledToken expected = host.sample(logits, history);
    const SampledToken found = next(device, logits);
    ASSERT_EQ(found.id, expected.id) << "draw " << i << " of " << vocabulary;
    EXPECT_EQ(found.logit, expected.logit);
    EXPECT_NEAR(found.probability, expected.probability, 1e-12);
    history.push_back(found.id);
  }
}

TEST(DeviceSampler, ChoosesWhatTheHostChooses) {
  const std::vector<SamplingOptions> cases{
      {.temperature = 0},
      {.temperature = 0, .repetition_penalty = 1.3},
      {.seed = 5},
      {.temperature = 0.3, .seed = 6},
      {.temperature = 5, .seed = 7},
      {.top_k = 1},
      {.top_k = 7, .seed = 8},
      {.top_k = 5000, .seed = 9},
      {.top_p = 0},
      {.top_p = 0.5, .seed = 10},
      {.top_p = 0.99999, .seed = 11},
      {.min_p = 0.2, .seed = 12},
      {.min_p = 1, .seed = 13},
      {.repetition_penalty = 0.5, .seed = 14},
      {.temperature = 0.8, .top_k = 40, .top_p = 0.9, .min_p = 0.05, .repetition_penalty = 1.2, .seed = 15}};
  for (std::size_t i = 0; i < cases.size(); ++i)
    for (const std::size_t vocabulary : {1, 2, 63, 300, 4099}) {
      SCOPED_TRACE(i);
      expect_the_hosts_tokens(cases[i], vocabulary);
    }
}

/// As large as they get: sums in several parts, and thousands of equal logits.
TEST(DeviceSampler, ChoosesWhatTheHostChoosesFromALargeVocabulary) {
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 0}, SamplingOptions{.temperature = 2, .seed = 3},
        SamplingOptions{.top_k = 100, .top_p = 0.95, .seed = 4}})
    expect_the_hosts_tokens(options, 151936, 3);
}

TEST(DeviceSampler, TakesTheFirstOfTheHighest) {
  DeviceSampler sampler({.temperature = 0}, {}, 4);
  const SampledToken token = next(sampler, {1, 3, 3, -infinity});
  EXPECT_EQ(token.id, 1);
  EXPECT_EQ(token.logit, 3);
  EXPECT_NEAR(token.probability, 1 / (2 + std::exp(-2.0)), 1e-15);
}

TEST(DeviceSampler, RowsAreChosenEachForItself) {
  DeviceSampler sampler({.temperature = 0}, {}, 3);
  const Tensor logits = Tensor::from(std::vector<float>{1, 5, 2, 7, 0, 7}, {2, 3}).to(test::test_device());
  const std::vector<double> numbers = sampler.choose(logits).numbers.to_vector<double>();
  EXPECT_EQ(numbers[0], 1);
  EXPECT_EQ(numbers[2], 5);
  EXPECT_EQ(numbers[3], 0);
  EXPECT_EQ(numbers[5], 7);
  EXPECT_NEAR(numbers[4], 1 / (2 + std::exp(-7.0)), 1e-15);
}

TEST(DeviceSampler, ImpossibleTokensAndExtremeOptionsAreHarmless) {
  const std::vector<float> logits{-infinity, 3e38f, -3e38f, 2e38f};
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 1e-300},
        SamplingOptions{.temperature = 1e300, .top_k = 1}, SamplingOptions{.repetition_penalty = 1e-300},
        SamplingOptions{.top_p = 0.5}, SamplingOptions{.min_p = 1}}) {
    DeviceSampler sampler(options, std::vector<std::int32_t>{1}, 4);
    const SampledToken token = next(sampler, logits);
    EXPECT_EQ(token.id, 1);
    EXPECT_EQ(token.probability, 1);
  }
}

TEST(DeviceSampler, LogitsThatTheHostRefusesHaveNoProbability) {
  for (const double temperature : {0.0, 1.0})
    for (const double penalty : {1.0, 2.0})
      for (const std::vector<float>& logits :
           {std::vector<float>{0, NAN, 1}, {infinity, 1, 0}, {-infinity, -infinity, -infinity}}) {
        DeviceSampler sampler({.temperature = temperature, .repetition_penalty = penalty},
                              std::vector<std::int32_t>{0}, 3);
        EXPECT_TRUE(std::isnan(next(sampler, logits).probability));
      }
}

}  // namespace
}  // namespace wick
