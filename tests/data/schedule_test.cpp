// Learning rates against the lambdas of transformers' optimization.py, evaluated in Python.
#include "wick/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "wick/error.h"

namespace wick {
namespace {

TEST(Schedule, ConstantUsesTheFullRateFromTheFirstStep) {
  const Schedule schedule({.kind = ScheduleKind::constant, .learning_rate = 1e-3, .total_steps = 20});
  for (std::int64_t step : {0, 1, 19, 20, 1000}) EXPECT_EQ(schedule.learning_rate(step), 1e-3);
}

TEST(Schedule, WarmUpBeginsAtZero) {
  for (ScheduleKind kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    const Schedule schedule({.kind = kind, .learning_rate = 2.0, .total_steps = 10, .warmup_steps = 4});
    EXPECT_EQ(schedule.learning_rate(0), 0.0);
    EXPECT_EQ(schedule.learning_rate(1), 0.5);
    EXPECT_EQ(schedule.learning_rate(3), 1.5);
    EXPECT_EQ(schedule.learning_rate(4), 2.0);
  }
}

struct Row {
  ScheduleKind kind;
  std::int64_t total, warmup;
  double min_ratio;
  std::int64_t step;
  double factor;
};

TEST(Schedule, DecaysAsTransformersDoes) {
  const Row rows[] = {
      {ScheduleKind::linear, 100, 10, 0.0, 10, 1.0},
      {ScheduleKind::cosine, 100, 10, 0.0, 10, 1.0},
      {ScheduleKind::cosine, 100, 10, 0.1, 10, 1.0},
      {ScheduleKind::linear, 100, 10, 0.0, 11, 0.9888888888888889},
      {ScheduleKind::cosine, 100, 10, 0.0, 11, 0.9996954135095479},
      {ScheduleKind::cosine, 100, 10, 0.1, 11, 0.9997258721585931},
      {ScheduleKind::linear, 100, 10, 0.0, 55, 0.5},
      {ScheduleKind::cosine, 100, 10, 0.0, 55, 0.5},
      {ScheduleKind::cosine, 100, 10, 0.1, 55, 0.55},
      {ScheduleKind::linear, 100, 10, 0.0, 99, 0.011111111111111112},
      {ScheduleKind::cosine, 100, 10, 0.0, 99, 0.00030458649045211894},
      {ScheduleKind::cosine, 100, 10, 0.1, 99, 0.10027412784140691},
      {ScheduleKind::linear, 100, 10, 0.0, 100, 0.0},
      {ScheduleKind::cosine, 100, 10, 0.0, 100, 0},
      {ScheduleKind::cosine, 100, 10, 0.1, 100, 0.1},
      {ScheduleKind::linear, 7, 0, 0.0, 0, 1.0},
      {ScheduleKind::cosine, 7, 0, 0.0, 0, 1.0},
      {ScheduleKind::cosine, 7, 0, 0.1, 0, 1.0},
      {ScheduleKind::linear, 7, 0, 0.0, 1, 0.8571428571428571},
      {ScheduleKind::cosine, 7, 0, 0.0, 1, 0.9504844339512095},
      {ScheduleKind::cosine, 7, 0, 0.1, 1, 0.9554359905560885},
      {ScheduleKind::linear, 7, 0, 0.0, 3, 0.5714285714285714},
      {ScheduleKind::cosine, 7, 0, 0.0, 3, 0.6112604669781572},
      {ScheduleKind::cosine, 7, 0, 0.1, 3, 0.6501344202803414},
      {ScheduleKind::linear, 7, 0, 0.0, 6, 0.14285714285714285},
      {ScheduleKind::cosine, 7, 0, 0.0, 6, 0.04951556604879048},
      {ScheduleKind::cosine, 7, 0, 0.1, 6, 0.14456400944391146},
      {ScheduleKind::linear, 7, 0, 0.0, 7, 0.0},
      {ScheduleKind::cosine, 7, 0, 0.0, 7, 0},
      {ScheduleKind::cosine, 7, 0, 0.1, 7, 0.1},
      {ScheduleKind::linear, 5, 5, 0.0, 4, 0.8},
      {ScheduleKind::cosine, 5, 5, 0.0, 4, 0.8},
      {ScheduleKind::cosine, 5, 5, 0.1, 4, 0.8},
      {ScheduleKind::linear, 5, 5, 0.0, 5, 0.0},
      {ScheduleKind::cosine, 5, 5, 0.0, 5, 1.0},
      {ScheduleKind::cosine, 5, 5, 0.1, 5, 1.0},
      {ScheduleKind::linear, 5, 5, 0.0, 6, 0.0},
      {ScheduleKind::cosine, 5, 5, 0.0, 6, 0},
      {ScheduleKind::cosine, 5, 5, 0.1, 6, 0.1},
  };
  for (const Row& row : rows) {
    const Schedule schedule({row.kind, 3e-4, row.total, row.warmup, row.min_ratio});
    EXPECT_NEAR(schedule.learning_rate(row.step), 3e-4 * row.factor, 3e-4 * 1e-15)
        << static_cast<int>(row.kind) << " step " << row.step << " of " << row.total;
  }
}

TEST(Schedule, TheLastValueStaysBeyondTheEnd) {
  const Schedule linear({ScheduleKind::linear, 1.0, 10, 0, 0.0});
  const Schedule cosine({ScheduleKind::cosine, 1.0, 10, 0, 0.1});
  EXPECT_EQ(linear.learning_rate(15), 0.0);
  EXPECT_NEAR(cosine.learning_rate(15), 0.1, 1e-15);
}

TEST(Schedule, NamesAndDomainsAreChecked) {
  EXPECT_EQ(schedule_from_name("linear"), ScheduleKind::linear);
  const auto error_of = [](const std::function<void()>& action) -> std::string {
    try {
      action();
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of([] { schedule_from_name("step"); }),
            "--schedule must be constant, linear or cosine, not \"step\"");
  EXPECT_EQ(error_of([] { Schedule({.learning_rate = -1}); }), "--lr must be a number of at least 0, not -1");
  EXPECT_EQ(error_of([] { Schedule({.learning_rate = std::nan("")}); }),
            "--lr must be a number of at least 0, not nan");
  EXPECT_EQ(error_of([] { Schedule({.total_steps = 0}); }), "a schedule needs at least 1 step, not 0");
  EXPECT_EQ(error_of([] { Schedule({.total_steps = 5, .warmup_steps = 6}); }),
            "--warmup must be from 0 to the number of steps (5), not 6");
  EXPECT_EQ(error_of([] { Schedule({.min_ratio = 2}); }),
            "the ratio of the lowest to the highest learning rate must be from 0 to 1, not 2");
}

}  // namespace
}  // namespace wick
