#include "wick/numerics.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"
#include "support/test_device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/name_scope.h"
#include "wick/ops.h"

namespace wick {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr float infinity = std::numeric_limits<float>::infinity();

Tensor data(const std::vector<float>& values) {
  return Tensor::from(values, Shape{static_cast<std::int64_t>(values.size())}).to(test::test_device()).eval();
}

std::string error_of(const Tensor& t) {
  const NumericCheckScope scope;
  try {
    t.eval();
  } catch (const NumericError& e) {
    return e.what();
  }
  return "no error";
}

TEST(NumericCheck, NamesTheFirstOpAmongThoseThatFusionWouldJoin) {
  const Tensor x = data({1, 0, 4});
  const Tensor y = log(x) * 2.0;
  const int line = __LINE__ - 1;
  const std::string error = error_of(exp(y + 1.0));
  EXPECT_THAT(error, HasSubstr("log is the first op to give NaN or infinity: 0 NaN and 1 infinite of 3"));
  EXPECT_THAT(error, HasSubstr("log(f32[3]) recorded at "));
  EXPECT_THAT(error, HasSubstr("numerics_test.cpp:" + std::to_string(line)));
  EXPECT_THAT(error, HasSubstr("operand 0: f32[3] from 0 to 4"));
}

TEST(NumericCheck, NaNOfFiniteOperandsIsNamed) {
  const std::string error = error_of(sqrt(data({4, -1})) + 1.0);
  EXPECT_THAT(error, HasSubstr("sqrt is the first op to give NaN or infinity: 1 NaN and 0 infinite of 2"));
}

TEST(NumericCheck, NaNOfInfiniteOperandsIsNamed) {
  const Tensor x = data({infinity, 1});
  const std::string error = error_of((x + 1.0) - x);
  EXPECT_THAT(error, HasSubstr("sub is the first op"));
  EXPECT_THAT(error, HasSubstr("operand 1: f32[2] from 1 to 1, 1 infinite"));
}

TEST(NumericCheck, InfinitiesThatWereThereMayPass) {
  const Tensor x = data({1, 2, 3});
  const Tensor mask = data({0, -infinity, 0});
  EXPECT_EQ(error_of(softmax(x + mask, 0)), "no error");
  EXPECT_EQ(error_of(where(greater(x, 1.5), x, -std::numeric_limits<double>::infinity())), "no error");
}

TEST(NumericCheck, ConstantsThatAPlanKeepsArePartOfIt) {
  const Tensor x = data({1, 2, 3});
  const Tensor steps = cast(arange(3), DType::f32);  // computed when the graph is optimised
  EXPECT_EQ(error_of(x * steps), "no error");
  EXPECT_THAT(error_of(x / steps), HasSubstr("operand 1: f32[3] from 0 to 2"));
}

TEST(NumericCheck, AnInputThatIsNaNIsReportedAsSuch) {
  const Tensor x = data({1, std::nanf(""), 3, 4});
  const std::string error = error_of(x * 2.0);
  EXPECT_THAT(error, HasSubstr("an input of this evaluation is NaN already: f32[4], 1 of 4 elements"));
  EXPECT_THAT(error, HasSubstr("mul("));
  EXPECT_THAT(error, Not(HasSubstr("first op")));
}

TEST(NumericCheck, SeesNaNInDataOfAnyLayout) {
  const Tensor x = transpose(reshape(data({1, 2, 3, 4, std::nanf(""), 6}), {2, 3})).eval();
  EXPECT_THAT(error_of(slice(x, 0, 1, 2) + 1.0), HasSubstr("NaN already"));
}

TEST(NumericCheck, OverflowOfAConversionIsNamed) {
  EXPECT_THAT(error_of(cast(data({70000}), DType::f16)), HasSubstr("cast is the first op"));
}

TEST(NumericCheck, RangesCoverEveryElementOfEveryDtype) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64})
    for (std::int64_t count : {1, 16, 37}) {  // the numbers are looked at 16 at a time
      // count - 1, ..., 0: the logarithm of the last one is infinite.
      const Tensor x = cast((count - 1) - arange(count), dtype).eval();
      const Tensor evaluated =
          Tensor::from(cast(x, DType::f64).to_vector<double>(), {count}).to(test::test_device());
      EXPECT_THAT(error_of(log(cast(evaluated, dtype).eval())),
                  HasSubstr(fmt::format("operand 0: {}[{}] from 0 to {}", name_of(dtype), count, count - 1)));
    }
}

TEST(NumericCheck, SaysInWhichPartOfTheModelAndThatItIsAGradient) {
  const Tensor x = data({0, 1});
  Tensor y;
  {
    const NameScope scope("layer.7");
    y = sqrt(x);
  }
  const std::string error = error_of(grad(sum(y), {x})[0]);
  EXPECT_THAT(error, HasSubstr("in layer.7 (its gradient)"));
}

TEST(NumericCheck, EqualGraphsOfDifferentLinesAreToldApart) {
  const Tensor x = data({-1});
  const std::string first = error_of(log(x));
  const std::string second = error_of(log(x));
  EXPECT_NE(first, second) << "both name the line of the first";
}

TEST(NumericCheck, ReachesAsynchronousEvaluations) {
  const Tensor y = log(data({0}));
  {
    const NumericCheckScope scope;
    const Evaluation running = y.eval_async();
    EXPECT_THROW(running.wait(), NumericError);
  }
}

TEST(NumericCheck, LeavesResultsAsTheyAre) {
  const Tensor x = data({0.5f, 1, 2});
  const auto record = [&] { return softmax(exp(x) * 2.0 + x, 0); };
  const std::vector<float> plain = record().to_vector<float>();
  const NumericCheckScope scope;
  EXPECT_EQ(record().to_vector<float>(), plain);
}

TEST(NumericCheck, IsOffOutsideAndSwitchableForTheProcess) {
  EXPECT_FALSE(numeric_checks());
  EXPECT_TRUE(std::isinf(log(data({0})).item<float>()));
  set_numeric_checks(true);
  EXPECT_THROW(log(data({0})).eval(), NumericError);
  set_numeric_checks(false);
}

TEST(NumericCheck, EmptyAndIntegerTensorsAreFine) {
  EXPECT_EQ(error_of(data({}) / 0.0), "no error");
  EXPECT_EQ(error_of(arange(4, DType::i64) + 1), "no error");
}

}  // namespace
}  // namespace wick
