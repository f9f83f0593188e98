#include "wick/eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <coroutine>
#include <future>
#include <thread>

#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

using ::testing::HasSubstr;

Tensor bad_gather() {
  const Tensor indices = Tensor::from(std::vector<std::int64_t>{0, 7}, {2});
  return take(Tensor::from(std::vector<float>{1, 2, 3}, {3}), indices);
}

TEST(Eval, SeveralOutputsShareTheirHistory) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor common = a * a;
  const Tensor x = common + 1;
  const Tensor y = sum(common);
  eval({x, y});
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{2, 5, 10}));
  EXPECT_EQ(y.item<float>(), 14);
}

TEST(Eval, AnOutputCanBeAViewOfDataOrOfAnotherOutput) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor turned = transpose(a);
  const Tensor doubled = a * 2;
  const Tensor row = slice(doubled, 0, 1, 2);
  eval({turned, doubled, row});
  EXPECT_EQ(turned.to_vector<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(row.to_vector<float>(), (std::vector<float>{8, 10, 12}));
  EXPECT_EQ((turned + 1).to_vector<float>(), (std::vector<float>{2, 5, 3, 6, 4, 7}));
}

TEST(Eval, TheSameStructureReusesThePlanWhateverTheData) {
  const auto run = [](float value) {
    const Tensor a = Tensor::from(std::vector<float>(77, value), {7, 11});
    return sum(exp(a) * 3).item<float>();
  };
  run(0.5f);
  const PlanCacheStats before = plan_cache_stats();
  EXPECT_NEAR(run(0.25f), 77 * 3 * std::exp(0.25), 1e-3);
  const PlanCacheStats after = plan_cache_stats();
  EXPECT_EQ(after.misses, before.misses);
  EXPECT_EQ(after.hits, before.hits + 1);
}

TEST(Eval, ThePlanCacheIsBoundedAndTellsItsBytes) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2}, {2});
  const std::uint64_t misses = plan_cache_stats().misses;
  (x * 0.5).eval();
  const PlanCacheStats one = plan_cache_stats();
  EXPECT_GT(one.bytes, 0U);
  for (int i = 0; i < 300; ++i) (x * (1 + i)).eval();
  const PlanCacheStats full = plan_cache_stats();
  EXPECT_EQ(full.misses, misses + 301);
  EXPECT_EQ(full.plans, 256U);
  // One structure, with another number in it: all plans are of one size, and the oldest went.
  (x * 300).eval();
  EXPECT_EQ(plan_cache_stats().hits, full.hits + 1);
  (x * 0.5).eval();
  EXPECT_EQ(plan_cache_stats().misses, full.misses + 1);
  EXPECT_EQ(plan_cache_stats().plans, 256U);
  EXPECT_EQ(plan_cache_stats().bytes, full.bytes);
}

TEST(Eval, SharingIsPartOfTheStructure) {
  const Tensor x = Tensor::from(std::vector<float>{3}, {1});
  const Tensor y = Tensor::from(std::vector<float>{5}, {1});
  EXPECT_EQ((x * x).item<float>(), 9);
  EXPECT_EQ((x * y).item<float>(), 15);
}

TEST(Eval, AnErrorInTheDataNamesTheOpAndTheLine) {
  try {
    bad_gather().eval();
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_THAT(e.what(), HasSubstr("take"));
    EXPECT_THAT(e.what(), HasSubstr("7"));
    EXPECT_THAT(e.what(), HasSubstr("eval_test.cpp:"));
  }
}

TEST(Eval, DropReusesTheMemoryOfDyingState) {
  const std::size_t count = 1 << 20;
  Tensor state = Tensor::from(std::vector<float>(count, 1.0f), {static_cast<std::int64_t>(count)});
  const Tensor delta = Tensor::from(std::vector<float>(count, 0.5f), {static_cast<std::int64_t>(count)});
  reset_peak_bytes();
  const std::uint64_t before = peak_bytes();
  for (int i = 0; i < 10; ++i) {
    state = state + delta;
    eval({state}, History::drop);
  }
  EXPECT_LT(peak_bytes(), before + count);
  EXPECT_EQ(state.to_vector<float>()[count - 1], 6.0f);
  EXPECT_EQ(delta.to_vector<float>()[0], 0.5f);
}

TEST(Eval, DropLeavesDataAloneThatSomebodyHolds) {
  const Tensor kept = Tensor::from(std::vector<float>{1, 2}, {2});
  const Tensor twin = kept.detach();
  Tensor next = kept + 1;
  eval({next}, History::drop);
  EXPECT_EQ(kept.to_vector<float>(), (std::vector<float>{1, 2}));
  Tensor copy = twin;
  Tensor after = copy * 10;
  copy = Tensor();
  eval({after}, History::drop);
  EXPECT_EQ(twin.to_vector<float>(), (std::vector<float>{1, 2}));
}

TEST(Eval, DropLeavesDataAloneThatAnUnevaluatedTensorNeeds) {
  Tensor data = Tensor::from(std::vector<float>{1, 2}, {2});
  const Tensor later = data * 3;
  Tensor now = data + 1;
  data = Tensor();
  eval({now}, History::drop);
  EXPECT_EQ(now.to_vector<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ(later.to_vector<float>(), (std::vector<float>{3, 6}));
}

TEST(Eval, AGradientMayFollowTheEvaluationOfItsLoss) {
  const Tensor w = Tensor::from(std::vector<double>{1, 2, 3}, {3});
  const Tensor loss = sum(w * w);
  EXPECT_EQ(loss.item<double>(), 14);
  EXPECT_EQ(grad(loss, std::vector<Tensor>{w})[0].to_vector<double>(), (std::vector<double>{2, 4, 6}));
}

TEST(Eval, EagerGivesTheSameBits) {
  const auto compute = [] {
    const Tensor a = random_normal(random_key(3), {33, 65});
    return softmax(gelu(a) * 2 + 1).to_vector<float>();
  };
  const auto lazy = compute();
  const EagerScope eager;
  EXPECT_EQ(compute(), lazy);
}

TEST(Eval, EagerEvaluatesAsItRecords) {
  const Tensor a = zeros({2});
  const EagerScope eager;
  EXPECT_TRUE((a + 1).is_evaluated());
}

TEST(EvalAsync, GivesTheSameBitsAsEval) {
  const Tensor a = random_normal(random_key(1), {50, 40});
  const Tensor b = random_normal(random_key(2), {40, 30});
  const Tensor now = softmax(matmul(a, b));
  const Tensor later = softmax(matmul(a, b));
  now.eval();
  later.eval_async().wait();
  EXPECT_EQ(now.to_vector<float>(), later.to_vector<float>());
}

TEST(EvalAsync, ResultsCanBeUsedAtOnceAndHandlesDropped) {
  Tensor x = Tensor::from(std::vector<float>(1000, 1.0f), {1000});
  for (int i = 0; i < 50; ++i) {
    x = x + 1;
    x.eval_async();
  }
  EXPECT_EQ(sum(x).item<float>(), 51000);
}

TEST(EvalAsync, ThenRunsAfterwardsAndCarriesErrors) {
  const Tensor x = zeros({3}) + 2;
  std::atomic<bool> ran{false};
  x.eval_async().then([&] { ran = x.is_evaluated(); }).wait();
  EXPECT_TRUE(ran);
  EXPECT_THROW(x.eval_async().then([] { throw DataError("from the callback"); }).wait(), DataError);
  EXPECT_THROW(bad_gather().eval_async().then([] { FAIL() << "must not run"; }).wait(), ArgumentError);
}

TEST(EvalAsync, AnErrorStaysWithTheTensorAndWithWhatDependsOnIt) {
  const Tensor bad = bad_gather();
  const Evaluation evaluation = bad.eval_async();
  EXPECT_THROW(evaluation.wait(), ArgumentError);
  EXPECT_TRUE(evaluation.ready());
  EXPECT_THROW((void)bad.to_vector<float>(), ArgumentError);
  EXPECT_THROW((void)(bad + 1).to_vector<float>(), ArgumentError);
  EXPECT_EQ((zeros({2}) + 1).to_vector<float>(), (std::vector<float>{1, 1}));
}

struct Job {
  struct promise_type {
    std::promise<float> result;
    Job get_return_object() { return {result.get_future()}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_value(float value) { result.set_value(value); }
    void unhandled_exception() { result.set_exception(std::current_exception()); }
  };
  std::future<float> result;
};

Job awaited_sum(Tensor x) {
  Tensor total = sum(x);
  co_await total.eval_async();
  co_return total.item<float>();
}

TEST(EvalAsync, CanBeAwaited) {
  EXPECT_EQ(awaited_sum(Tensor::from(std::vector<float>{1, 2, 3}, {3})).result.get(), 6);
  EXPECT_THROW(awaited_sum(bad_gather()).result.get(), ArgumentError);
}

TEST(EvalAsync, EightThreadsEvaluateAtOnce) {
  std::vector<std::thread> threads;
  std::vector<float> results(8);
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      Tensor x = Tensor::from(std::vector<float>(256, static_cast<float>(t)), {256});
      for (int i = 0; i < 10; ++i) {
        x = x * 1 + 1;
        if (i % 3 == 0)
          x.eval_async();
        else
          x.eval();
      }
      results[t] = sum(x).item<float>();
    });
  for (auto& t : threads) t.join();
  for (std::size_t t = 0; t < 8; ++t) EXPECT_EQ(results[t], 256 * (static_cast<float>(t) + 10));
}

}  // namespace
}  // namespace wick
