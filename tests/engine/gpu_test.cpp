#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "pass_harness.h"
#include "support/error_text.h"
#include "support/test_device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/explain.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/ops.h"
#include "wick/optimize.h"
#include "wick/stream.h"

namespace wick {
namespace {

using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override { WICK_NEEDS_GPU(); }
  void TearDown() override { set_memory_limit({}); }

  static Tensor numbers(std::int64_t count, float first = 0) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(first + static_cast<float>(i));
    return Tensor::from(values, {count});
  }
  static Tensor bad_gather(Device gpu) {
    return take(numbers(4).to(gpu), Tensor::from(std::vector<std::int32_t>{1, 9}, {2}));
  }
  const Device gpu_ = test::first_gpu();
};

TEST_F(Gpu, DataGoesThereAndBack) {
  const Tensor x = numbers(1000).to(gpu_);
  EXPECT_EQ(x.device(), gpu_);
  EXPECT_EQ(x.to(cpu).device(), cpu);
  EXPECT_EQ(x.to_vector<float>(), numbers(1000).to_vector<float>());
  EXPECT_EQ(slice(numbers(10), 0, 9, -11, -3).to(gpu_).to_vector<float>(), (std::vector<float>{9, 6, 3, 0}));
  EXPECT_EQ(slice(x, 0, 10, 20, 5).to(cpu).to_vector<float>(), (std::vector<float>{10, 15}));
  EXPECT_TRUE(zeros({0, 3}).to(gpu_).to_vector<float>().empty());
}

TEST_F(Gpu, HostTensorsGoAlong) {
  const Tensor x = numbers(6).to(gpu_);
  const Tensor y = x * numbers(6, 1) + Tensor::scalar(0.5F);
  EXPECT_EQ(y.device(), gpu_);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{0.5F, 2.5F, 6.5F, 12.5F, 20.5F, 30.5F}));
  const Tensor backwards = slice(numbers(6), 0, 5, -7, -1);
  EXPECT_EQ((x + backwards).to_vector<float>(), std::vector<float>(6, 5));
  const Tensor rows = broadcast_to(numbers(6), {3, 6});
  EXPECT_EQ(sum(reshape(x, {1, 6}) + rows).item<float>(), 90);
}

TEST_F(Gpu, AHostTensorTooLargeToGoAlongIsRefused) {
  const Tensor large = arange(17'000'000, DType::f32).eval();
  EXPECT_THAT(error_text<DeviceError>([&] { (numbers(1).to(gpu_) + large).eval(); }),
              HasSubstr("move it once with to(device)"));
  EXPECT_EQ((numbers(1).to(gpu_) + large.to(gpu_)).dim(0), 17'000'000);
}

/// A repeated evaluation replays what the first one recorded; its numbers must still be those of today.
TEST_F(Gpu, ReplaysTakeNewNumbers) {
  const Tensor w = numbers(256).to(gpu_);
  Tensor state = zeros({256}).to(gpu_);
  std::vector<Tensor> kept;
  for (int i = 0; i < 20; ++i) {
    const Tensor rate = Tensor::scalar(static_cast<float>(i));
    state = state + sqrt(square(w * rate));
    const Tensor total = sum(state);
    eval({state, total}, History::drop);
    kept.push_back(total);
  }
  float factor = 0;
  for (int i = 0; i < 20; ++i) {
    factor += static_cast<float>(i);
    EXPECT_EQ(kept[static_cast<std::size_t>(i)].item<float>(), factor * 32640) << i;
  }
}

/// Kernels begin before those ahead have ended, and take their places in memory.
TEST_F(Gpu, KernelsSeeWhatThoseAheadWrote) {
  const auto chain = [](Tensor x) {
    for (int i = 0; i < 20; ++i) x = max(x) - transpose(x);
    return x;
  };
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 4}, Shape{100, 50}, Shape{1024, 1000}}) {
    SCOPED_TRACE(shape.elements());
    const Tensor x = reshape(numbers(shape.elements()), shape);
    const auto expected = chain(x).to_vector<float>();
    const Tensor there = x.to(gpu_);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(chain(there).to_vector<float>() == expected) << i;
  }
}

/// More addresses than a plan has graphs: what is small is moved then, at any alignment and size.
TEST_F(Gpu, ReplaysReadAndWriteWhereverValuesLie) {
  const Tensor bytes = cast(numbers(64), DType::u8).to(gpu_);
  const Tensor floats = numbers(70000).to(gpu_);
  std::vector<Tensor> kept;
  for (std::int64_t i = 0; i < 16; ++i) {
    const Tensor narrow = slice(bytes, 0, i, i + 13) + slice(bytes, 0, i + 1, i + 14);
    const Tensor wide = slice(floats, 0, 3 * i, 3 * i + 40001) * 2;
    eval({narrow, wide});
    kept.push_back(narrow);
    kept.push_back(wide);
  }
  for (std::int64_t i = 0; i < 16; ++i) {
    const auto narrow = kept[static_cast<std::size_t>(2 * i)].to_vector<std::uint8_t>();
    const auto wide = kept[static_cast<std::size_t>(2 * i + 1)].to_vector<float>();
    for (std::int64_t k = 0; k < 13; ++k)
      ASSERT_EQ(narrow[static_cast<std::size_t>(k)], 2 * (i + k) + 1) << i << ' ' << k;
    for (std::int64_t k = 0; k < 40001; ++k)
      ASSERT_EQ(wide[static_cast<std::size_t>(k)], static_cast<float>(2 * (3 * i + k))) << i << ' ' << k;
  }
}

/// Addresses that change and then stay: moved, and later read where they are.
TEST_F(Gpu, ReplaysSettleWhereValuesStay) {
  const Tensor x = numbers(100).to(gpu_);
  for (int round = 0; round < 2; ++round) {
    std::vector<Tensor> kept;
    for (std::int64_t i = 0; i < 12; ++i) {
      kept.push_back(slice(x, 0, i, i + 50) + slice(x, 0, 1, 51));
      EXPECT_EQ(kept.back().to_vector<float>()[49], static_cast<float>(i + 49 + 50));
    }
    for (int i = 0; i < 40; ++i) {
      const Tensor same = slice(x, 0, 7, 57) + slice(x, 0, 1, 51);
      EXPECT_EQ(same.to_vector<float>()[0], 8) << i;
      EXPECT_EQ(same.to_vector<float>()[49], 106) << i;
    }
  }
}

/// Each is started while the one before runs, in the memory that it leaves.
TEST_F(Gpu, EvaluationsInFlightFollowOneAnother) {
  const Tensor w = numbers(1000).to(gpu_);
  Tensor state = zeros({1000}).to(gpu_);
  std::vector<Tensor> totals;
  for (int i = 0; i < 200; ++i) {
    state = state + w * Tensor::scalar(static_cast<float>(i % 3));
    totals.push_back(max(state));
    eval_async({state, totals.back()}, History::drop);
  }
  float expected = 0;
  for (int i = 0; i < 200; ++i) {
    expected += 999.0F * static_cast<float>(i % 3);
    ASSERT_EQ(totals[static_cast<std::size_t>(i)].item<float>(), expected) << i;
  }
}

TEST_F(Gpu, OfEvaluationsInFlightOnlyTheBadOneFails) {
  const Tensor x = numbers(4).to(gpu_);
  std::vector<Tensor> taken;
  for (int i = 0; i < 40; ++i) {
    const std::int32_t index = i % 8 == 5 ? 9 : i % 4;
    taken.push_back(take(x, Tensor::from(std::vector<std::int32_t>{index}, {1})) + 1);
    eval_async({taken.back()});
  }
  for (int i = 0; i < 40; ++i) {
    const Tensor& t = taken[static_cast<std::size_t>(i)];
    if (i % 8 == 5)
      EXPECT_THAT(error_text<ArgumentError>([&] { t.eval(); }), HasSubstr("index 9 is out of range")) << i;
    else
      EXPECT_EQ(t.item<float>(), static_cast<float>(i % 4 + 1)) << i;
  }
}

TEST_F(Gpu, CallbacksComeBetweenEvaluationsInFlight) {
  const Stream stream;
  const StreamScope scope(stream);
  Tensor state = zeros({100}).to(gpu_);
  std::vector<float> seen;  // by the stream's worker alone
  std::vector<Evaluation> ends;
  for (int i = 0; i < 50; ++i) {
    state = state + 1;
    const Tensor here = state;
    ends.push_back(eval_async({here}).then([&seen, here] { seen.push_back(max(here * 1).item<float>()); }));
  }
  when_all(ends).wait();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], static_cast<float>(i + 1));
}

TEST_F(Gpu, ABadIndexIsAnErrorOfItsTensorAlone) {
  for (int i = 0; i < 3; ++i) {  // launched, captured, replayed
    const std::string text = error_text<ArgumentError>([&] { bad_gather(gpu_).eval(); });
    EXPECT_THAT(text, AllOf(HasSubstr("index 9 is out of range for a dimension of size 4"),
                            HasSubstr("gpu_test.cpp")));
    EXPECT_EQ(
        take(numbers(4).to(gpu_), Tensor::from(std::vector<std::int32_t>{1, 3}, {2})).to_vector<float>(),
        (std::vector<float>{1, 3}));
  }
}

TEST_F(Gpu, AnErrorInFlightReachesWhoDependsOnIt) {
  const Tensor bad = bad_gather(gpu_);
  const Evaluation failing = bad.eval_async();
  const Tensor next = bad + 1;
  const Evaluation after = next.eval_async();
  EXPECT_THROW(failing.wait(), ArgumentError);
  EXPECT_THROW(after.wait(), ArgumentError);
  EXPECT_EQ((numbers(2).to(gpu_) + 1).to_vector<float>(), (std::vector<float>{1, 2}));
}

TEST_F(Gpu, HostAndGpuAreEvaluatedTogether) {
  const Tensor here = numbers(3) + 1;
  const Tensor there = here.to(gpu_) * 2;
  eval({there, here});
  EXPECT_EQ(here.device(), cpu);
  EXPECT_EQ(there.to_vector<float>(), (std::vector<float>{2, 4, 6}));
  const Tensor a = numbers(3) * 3;
  const Tensor b = numbers(3).to(gpu_) * 3;
  eval_async({a, b}).wait();
  EXPECT_EQ(a.to_vector<float>(), b.to_vector<float>());
}

/// Members of several launches: more than one takes, large ones, empty ones, and those at odd addresses.
TEST_F(Gpu, ABatchOfGroupsGivesTheBitsOfEachGroup) {
  const Tensor buffer = cast(random_normal(random_key(7).to(gpu_), {1 << 21}), DType::f32).eval().detach();
  const auto record = [&] {
    const Tensor total = sum(buffer);
    std::vector<Tensor> outputs;
    const auto add = [&](const Tensor& part) { outputs.push_back(part * total + tanh(part)); };
    for (std::int64_t start : {0, 1, 3}) add(slice(buffer, 0, start, (1 << 20) + 5 + 2 * start));
    for (std::int64_t i = 0; i < 300; ++i) add(slice(buffer, 0, i, 3 * i + 2));
    add(slice(buffer, 0, 4, 4));
    return outputs;
  };
  const Explanation plan = explain(record());
  EXPECT_EQ(std::count_if(plan.steps.begin(), plan.steps.end(),
                          [](const ExplainedStep& step) { return step.op == "elementwise_batch"; }),
            1);
  const std::vector<Tensor> with = record();
  eval(with);
  const std::vector<Tensor> without = record();
  const DisablePassesScope apart({"batch-groups"});
  eval(without);
  for (std::size_t i = 0; i < with.size(); ++i)
    EXPECT_EQ(with[i].to_vector<float>(), without[i].to_vector<float>()) << "member " << i;
}

/// Members of other widths than each other, of many rows and of few.
TEST_F(Gpu, AdaptersOfLayersWithOneInputAreRightTogether) {
  const auto numbers = [&](std::uint64_t seed, const Shape& shape, DType dtype) {
    return cast(random_normal(random_key(seed).to(gpu_), shape) * 0.1, dtype).eval().detach();
  };
  for (std::int64_t rows : {70, 1100}) {
    const Tensor x = numbers(1, {rows, 136}, DType::bf16);
    test::expect_same_results("join-adapters", [&] {
      std::vector<Tensor> outputs;
      std::vector<Tensor> factors;
      Tensor loss = Tensor::scalar(0.0F);
      for (std::int64_t out : {264, 128, 8}) {
        const Tensor weight = numbers(2, {out, 136}, DType::bf16);
        factors.push_back(numbers(3, {16, 136}, DType::f32));
        factors.push_back(numbers(4, {out, 16}, DType::f32));
        const Tensor& b = factors.back();
        outputs.push_back(lora_linear(x, weight, {}, factors[factors.size() - 2], b, 2));
        loss = loss + sum(square(cast(outputs.back(), DType::f32)));
      }
      for (const Tensor& gradient : grad(loss, factors)) outputs.push_back(gradient);
      return outputs;
    });
  }
}

/// Wide enough that tiles share what one of them projects.
TEST_F(Gpu, WideLayersShareProjections) {
  const auto numbers = [&](std::uint64_t seed, const Shape& shape, DType dtype, double scale) {
    return cast(random_normal(random_key(seed).to(gpu_), shape) * scale, dtype).eval().detach();
  };
  const Tensor x = numbers(1, {2048, 4096}, DType::bf16, 1);
  const Tensor up = numbers(2, {4104, 4096}, DType::bf16, 0.02);
  const Tensor down = numbers(3, {1032, 4104}, DType::bf16, 0.02);
  const std::vector<Tensor> factors = {
      numbers(4, {16, 4096}, DType::f32, 0.02), numbers(5, {4104, 16}, DType::f32, 0.1),
      numbers(6, {16, 4104}, DType::f32, 0.02), numbers(7, {1032, 16}, DType::f32, 0.1)};
  const auto record = [&] {
    const Tensor h = lora_linear(x, up, {}, factors[0], factors[1], 2);
    const Tensor y = lora_linear(h, down, {}, factors[2], factors[3], 2);
    std::vector<Tensor> outputs = {h, y};
    for (const Tensor& gradient : grad(sum(square(cast(y, DType::f32))) / 1e6, factors))
      outputs.push_back(gradient);
    return outputs;
  };
  const auto projections = [&] {
    const Explanation plan = explain(record());
    return std::count_if(plan.steps.begin(), plan.steps.end(), [](const ExplainedStep& step) {
      return step.op == "lora_projection" || step.op == "lora_projections";
    });
  };
  const std::vector<DeviceInfo> all = devices();
  const auto gpu = std::ranges::find(all, gpu_, &DeviceInfo::device);
  if (gpu->features == "compute capability 9.0") {
    EXPECT_EQ(projections(), 2) << "of the gradients: one narrow, one with no product behind it";
  }
  const std::vector<Tensor> shared = record();
  eval(shared);
  const DisablePassesScope apart({"fuse-projections"});
  EXPECT_GT(projections(), 2);
  const std::vector<Tensor> expected = record();
  for (std::size_t i = 0; i < shared.size(); ++i) {
    const auto norm = [](const Tensor& of) { return sqrt(sum(square(of))).to_vector<float>().front(); };
    const Tensor wanted = cast(expected[i], DType::f32);
    EXPECT_LE(norm(cast(shared[i], DType::f32) - wanted), 5e-3F * norm(wanted)) << "output " << i;
  }
}

TEST_F(Gpu, TwoStreamsAndEightThreads) {
  const Stream first;
  const Stream second;
  const Tensor x = numbers(4096).to(gpu_);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const StreamScope scope(t % 2 ? first : second);
      for (int i = 0; i < 50; ++i) {
        const auto k = static_cast<float>(t * 50 + i);
        Tensor y = x * Tensor::scalar(k);
        (void)y.eval_async();
        const Tensor total = sum(y * 2.0);
        (void)total.eval_async();
        if (total.item<float>() != sum(numbers(4096) * Tensor::scalar(k) * 2.0).item<float>()) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Gpu, WhatDoesNotFitIsRefusedAndNothingStays) {
  release_kept_memory(gpu_);
  const Tensor x = numbers(1000).to(gpu_);
  const std::uint64_t before = peak_bytes(gpu_);
  const Tensor huge = broadcast_to(reshape(x, {1000, 1, 1}), {1000, 30000, 30000}) + 1;  // 3.6 TB
  const std::string text = error_text<MemoryError>([&] { huge.eval(); });
  EXPECT_THAT(text,
              AllOf(HasSubstr("plans 3600000000000 bytes"), HasSubstr("free"), HasSubstr("smaller batch")));
  EXPECT_EQ(peak_bytes(gpu_), before);
  set_memory_limit(std::uint64_t{1} << 20);
  EXPECT_THAT(error_text<MemoryError>([&] {
                (broadcast_to(x, {1000, 1000}) + 1).eval();
              }),
              HasSubstr("beyond the limit of 1048576 bytes"));
  EXPECT_EQ(sum(x + 1).item<float>(), 500500);
}

}  // namespace
}  // namespace wick
