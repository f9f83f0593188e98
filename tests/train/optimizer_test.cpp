#include "wick/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "wick/error.h"
#include "wick/eval.h"

namespace wick {
namespace {

using ::testing::HasSubstr;

Tensor yes() { return Tensor::scalar(true); }

std::vector<float> random_values(std::mt19937& generator, std::size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

/// One parameter element under AdamW, in float64, straight from the paper's algorithm 2.
struct ScalarAdamW {
  AdamWOptions options;
  double p = 0, m = 0, v = 0;
  int t = 0;
  void step(double g, double lr) {
    ++t;
    p -= lr * options.weight_decay * p;
    m = options.beta1 * m + (1 - options.beta1) * g;
    v = options.beta2 * v + (1 - options.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(options.beta1, t));
    const double v_hat = v / (1 - std::pow(options.beta2, t));
    p -= lr * m_hat / (std::sqrt(v_hat) + options.eps);
  }
};

TEST(AdamW, MatchesFloat64Reference) {
  const AdamWOptions options{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1};
  std::mt19937 generator(1);
  const std::vector<float> start = random_values(generator, 12);
  std::vector<ScalarAdamW> reference(12, {options});
  for (std::size_t i = 0; i < 12; ++i) reference[i].p = start[i];

  std::vector<Tensor> parameters{Tensor::from(std::vector<float>(start.begin(), start.begin() + 5), {5}),
                                 Tensor::from(std::vector<float>(start.begin() + 5, start.end()), {1, 7})};
  AdamW optimizer(options, parameters);
  for (int step = 0; step < 30; ++step) {
    const double lr = 0.05 / (1 + step);
    const std::vector<float> g = random_values(generator, 12);
    const std::vector<Tensor> gradients{Tensor::from(std::vector<float>(g.begin(), g.begin() + 5), {5}),
                                        Tensor::from(std::vector<float>(g.begin() + 5, g.end()), {1, 7})};
    parameters = optimizer.step(parameters, gradients, lr, yes());
    std::vector<Tensor> all = optimizer.pending();
    all.insert(all.end(), parameters.begin(), parameters.end());
    eval(all, History::drop);
    for (std::size_t i = 0; i < 12; ++i) reference[i].step(g[i], lr);
  }
  EXPECT_EQ(optimizer.steps(), 30);
  std::vector<float> ours = parameters[0].to_vector<float>();
  for (float x : parameters[1].to_vector<float>()) ours.push_back(x);
  // 30 steps of f32 rounding on values of order 1.
  for (std::size_t i = 0; i < 12; ++i) EXPECT_NEAR(ours[i], reference[i].p, 3e-6) << i;
}

TEST(AdamW, EveryStepRunsTheSamePlan) {
  std::vector<Tensor> p{Tensor::from(std::vector<float>{1, 2, 3}, {3})};
  AdamW optimizer({}, p);
  std::uint64_t misses_after_first = 0;
  for (int step = 0; step < 4; ++step) {
    p = optimizer.step(p, {Tensor::from(std::vector<float>{1, -1, 0.5F}, {3})}, 0.1 / (step + 1), yes());
    std::vector<Tensor> all = optimizer.pending();
    all.push_back(p[0]);
    eval(all, History::drop);
    if (step == 0) misses_after_first = plan_cache_stats().misses;
  }
  EXPECT_EQ(plan_cache_stats().misses, misses_after_first);
}

TEST(AdamW, KeepsEverythingWhereItMustNotProceed) {
  const std::vector<float> start{1, -2, 3};
  std::vector<Tensor> p{Tensor::from(start, {3})};
  AdamW optimizer({}, p);
  const Tensor bad = Tensor::from(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN(), 2}, {3});
  p = optimizer.step(p, {bad}, 0.1, Tensor::scalar(false));
  std::vector<Tensor> all = optimizer.pending();
  all.push_back(p[0]);
  eval(all, History::drop);
  EXPECT_EQ(p[0].to_vector<float>(), start);
  EXPECT_EQ(optimizer.first_moments()[0].to_vector<float>(), std::vector<float>(3, 0.0F));
  EXPECT_EQ(optimizer.second_moments()[0].to_vector<float>(), std::vector<float>(3, 0.0F));
}

TEST(AdamW, RefusesWhatDoesNotFit) {
  const Tensor p = Tensor::from(std::vector<float>{1, 2}, {2});
  AdamW optimizer({}, {p});
  const Tensor wide = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  try {
    optimizer.restore(1, {wide}, {p});
    FAIL() << "restored moments of another shape";
  } catch (const ArgumentError& e) {
    EXPECT_THAT(e.what(), HasSubstr("number 0 of the first moments is f32[3], it must be f32[2]"));
  }
  try {
    optimizer.step({p}, {}, 0.1, yes());
    FAIL() << "took a step without gradients";
  } catch (const ArgumentError& e) {
    EXPECT_THAT(e.what(), HasSubstr("made for 1 parameters, but 0 gradients were given"));
  }
  EXPECT_THROW(AdamW({}, {Tensor::from(std::vector<double>{1}, {1})}), DTypeError);
}

TEST(GlobalNorm, IsTheNormOfAllElements) {
  const std::vector<Tensor> g{Tensor::from(std::vector<float>{3, 0}, {2}),
                              Tensor::from(std::vector<float>{0, 4, 0, 12}, {2, 2})};
  EXPECT_FLOAT_EQ(global_norm(g).item<float>(), 13.0F);
  EXPECT_THROW(global_norm({}), ArgumentError);
}

TEST(GlobalNorm, ClippingScalesOnlyWhatIsTooLong) {
  const std::vector<Tensor> g{Tensor::from(std::vector<float>{3, -4}, {2})};
  const Tensor norm = global_norm(g);
  const std::vector<float> same = clip_by_global_norm(g, norm, 10)[0].to_vector<float>();
  EXPECT_EQ(same, (std::vector<float>{3, -4}));
  const std::vector<float> clipped = clip_by_global_norm(g, norm, 1)[0].to_vector<float>();
  EXPECT_NEAR(clipped[0], 3 / (5 + 1e-6), 1e-6);
  EXPECT_NEAR(clipped[1], -4 / (5 + 1e-6), 1e-6);
  EXPECT_THROW(clip_by_global_norm(g, norm, 0), ArgumentError);
}

}  // namespace
}  // namespace wick
