#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "graph/node.h"
#include "graph/walk.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

using ::testing::HasSubstr;

template <typename E, typename F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Record, KeepsShapeAndDtypeWithoutComputing) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor sum = a + a;
  EXPECT_EQ(sum.shape(), (Shape{2, 3}));
  EXPECT_EQ(sum.dtype(), DType::f32);
  EXPECT_FALSE(sum.is_evaluated());
  EXPECT_EQ(sum.to_vector<float>(), (std::vector<float>{2, 4, 6, 8, 10, 12}));
  EXPECT_TRUE(sum.is_evaluated());
}

TEST(Record, ErrorNamesOpShapesDtypesAndTheCallersLine) {
  const Tensor a = zeros({2, 3});
  const Tensor b = zeros({4, 5}, DType::bf16);
  const int line = __LINE__ + 1;
  const std::string text = message_of<ShapeError>([&] { (void)(a + b); });
  EXPECT_THAT(text, HasSubstr("add"));
  EXPECT_THAT(text, HasSubstr("f32[2, 3]"));
  EXPECT_THAT(text, HasSubstr("[4, 5]"));
  EXPECT_THAT(text, HasSubstr("record_test.cpp:" + std::to_string(line)));
}

TEST(Record, AnEmptyTensorIsRefused) {
  EXPECT_THAT(message_of<ArgumentError>([] { (void)Tensor().shape(); }),
              HasSubstr("an empty tensor was used"));
  EXPECT_THAT(message_of<ArgumentError>([] { eval({Tensor()}); }), HasSubstr("empty tensor"));
}

TEST(Record, ReadingAsAnotherDtypeIsRefused) {
  EXPECT_THAT(message_of<DTypeError>([] { (void)zeros({2}).to_vector<double>(); }), HasSubstr("f32[2]"));
  EXPECT_THAT(message_of<ShapeError>([] { (void)zeros({2}).item<float>(); }),
              HasSubstr("exactly one element"));
}

TEST(Record, DataOfTheWrongSizeIsRefused) {
  EXPECT_THAT(message_of<ShapeError>([] {
                (void)Tensor::from(std::vector<float>{1, 2}, {3});
              }),
              HasSubstr("f32[3] needs 3 elements"));
}

TEST(Record, ViewsOfForeignMemoryShareIt) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = owner;
  {
    const Tensor view = Tensor::view_of(std::as_bytes(std::span(*owner)), {3}, DType::f32, owner);
    owner.reset();
    EXPECT_FALSE(watch.expired());
    EXPECT_EQ((view * 2).to_vector<float>(), (std::vector<float>{2, 4, 6}));
  }
  EXPECT_TRUE(watch.expired());
}

std::size_t node_count(const Tensor& result) {
  return walk(std::span(&result, 1), WalkThrough::everything).order.size();
}

TEST(Record, ANumberThatRepeatsIsRecordedOnce) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  EXPECT_EQ(node_count(x * 2.5 + 2.5), 4u);                // x, the number, the product, the sum
  EXPECT_EQ(node_count(x * 2.5 + 3.5), 5u);                // two numbers
  EXPECT_EQ(node_count(x + 0.0 + -0.0), 5u);               // which are not the same
  EXPECT_EQ(node_count(cast(x * 2, DType::f64) * 2), 6u);  // a number has the other operand's dtype
}

TEST(Record, ThreadsShareNumbers) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  const Tensor here = x * 0.875;
  Tensor there;
  std::thread([&] { there = x * 0.875; }).join();
  EXPECT_EQ(node_count(here + there), 5u);  // x, the number, two products, the sum
}

TEST(Record, MoreNumbersThanAProcessKeepsAreAsGood) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  std::vector<Tensor> sums;
  for (int i = 0; i < 5000; ++i) sums.push_back(x + (i + 0.125));
  for (int i = 0; i < 5000; i += 499) {
    const float number = static_cast<float>(i) + 0.125f;
    EXPECT_EQ(sums[static_cast<std::size_t>(i)].to_vector<float>(),
              (std::vector<float>{1 + number, 2 + number}));
  }
}

TEST(Record, ExpressionsThatShareANumberDoNotHoldEachOthersHistory) {
  const Tensor first = Tensor::from(std::vector<float>{1, 2}, {2}) * 7.25;
  const Tensor second = Tensor::from(std::vector<float>{3, 4}, {2}) * 7.25;
  first.eval();
  EXPECT_TRUE(first.node()->has_forgotten());  // nobody else holds what it was made of
  EXPECT_EQ(second.to_vector<float>(), (std::vector<float>{21.75f, 29}));
}

TEST(Record, EightThreadsRecordAndEvaluateSharedHistoryAtOnce) {
  const Tensor base = Tensor::from(std::vector<double>{1, 2, 3, 4}, {4});
  const Tensor shared = exp(base) + 1;
  std::vector<std::vector<double>> results(8);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < results.size(); ++t)
    threads.emplace_back([&, t] {
      Tensor x = shared;
      for (int i = 0; i < 20; ++i) x = x * 0.5 + base;
      if (t % 2 == 0) shared.eval();
      results[t] = x.to_vector<double>();
    });
  for (auto& t : threads) t.join();
  for (const auto& r : results) EXPECT_EQ(r, results[0]);
  double expected = std::exp(1.0) + 1;
  for (int i = 0; i < 20; ++i) expected = expected * 0.5 + 1;
  EXPECT_NEAR(results[0][0], expected, 1e-12);
}

}  // namespace
}  // namespace wick
