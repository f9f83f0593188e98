#include "wick/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <future>
#include <random>
#include <thread>

#include "runtime/stream_queue.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick {
namespace {

using ::testing::HasSubstr;

Tensor bad_gather(std::int64_t index = 7) {
  const Tensor indices = Tensor::from(std::vector<std::int64_t>{0, index}, {2});
  return take(Tensor::from(std::vector<float>{1, 2, 3}, {3}), indices);
}

/// Keeps the worker of a stream in a callback until it is opened, so that only waiting threads execute.
class Gate {
 public:
  explicit Gate(const Stream& stream) {
    // Behind a job that waits, so that the callback is registered before its evaluation is done. The worker
    // has it before anything else is submitted: this thread may have to help, and would wait for itself.
    struct Hold final : Work {
      Hold(std::promise<void>& begun, std::shared_future<void> registered)
          : begun_(begun), registered_(std::move(registered)) {}
      bool can_start_behind(Work&) override { return false; }
      void start(Work*) override {
        begun_.set_value();
        registered_.wait();
      }
      bool wait_briefly() override { return true; }
      void finish() override {}
      std::promise<void>& begun_;
      std::shared_future<void> registered_;
    };
    std::promise<void> begun;
    std::promise<void> registered;
    StreamQueue& queue = stream.queue();
    queue.submit(std::make_unique<Hold>(begun, registered.get_future().share()),
                 std::make_shared<Completion>(queue.shared_from_this()), 0, [] {});
    begun.get_future().wait();
    const auto reached = std::make_shared<std::promise<void>>();
    eval_async({zeros({1}) + 1}, stream)
        .then([reached, opened = std::shared_future<void>(opened_.get_future())] {
          reached->set_value();
          opened.wait();
        });
    registered.set_value();
    reached->get_future().wait();
  }
  void open() { opened_.set_value(); }

 private:
  std::promise<void> opened_;
};

TEST(Stream, HandlesAreTheSameStreamAndScopesNest) {
  const Stream a;
  const Stream b;
  EXPECT_EQ(Stream::current(), Stream::main());
  {
    const StreamScope outer(a);
    EXPECT_EQ(Stream::current(), a);
    {
      const StreamScope inner(b);
      EXPECT_EQ(Stream::current(), b);
    }
    EXPECT_EQ(Stream::current(), a);
  }
  EXPECT_EQ(Stream::current(), Stream::main());
  EXPECT_FALSE(a == b);
}

TEST(Stream, OptionsOutOfRangeAreRefused) {
  EXPECT_THROW(Stream({.threads = -1}), ArgumentError);
  EXPECT_THROW(Stream({.max_queued = 0}), ArgumentError);
}

TEST(Stream, CallbacksComeInTheOrderOfSubmission) {
  const Stream stream;
  std::vector<int> order;  // only the stream's worker appends while there is work
  Gate gate(stream);
  std::vector<Evaluation> ends;
  for (int i = 0; i < 20; ++i)
    ends.push_back(eval_async({zeros({2}) + i}, stream).then([&order, i] { order.push_back(i); }));
  gate.open();
  when_all(ends).wait();
  std::vector<int> expected(20);
  for (int i = 0; i < 20; ++i) expected[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(order, expected);
}

TEST(Stream, AWaitingThreadDoesWhatNoWorkerHasBegun) {
  const Stream stream;
  Gate gate(stream);
  const Tensor x = zeros({3}) + 2;
  const Tensor y = x * 3;
  eval_async({x}, stream);
  eval_async({y}, stream);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{6, 6, 6}));  // the worker is still held
  gate.open();
}

TEST(Stream, AStreamDoesNotWaitForAnother) {
  const Stream held;
  const Stream free;
  Gate gate(held);
  std::promise<void> ran;
  eval_async({zeros({2}) + 1}, free).then([&] { ran.set_value(); });
  ran.get_future().wait();
  gate.open();
}

TEST(Stream, AValueOfOneStreamMayBeUsedOnAnother) {
  const Stream a;
  const Stream b;
  Tensor x = zeros({100});
  for (int i = 0; i < 100; ++i) {
    x = x + 1;
    eval_async({x}, i % 2 == 0 ? a : b, i % 3 == 0 ? History::drop : History::keep);
  }
  EXPECT_EQ(x.to_vector<float>(), std::vector<float>(100, 100.0f));
}

TEST(Stream, StateInFlightIsUpdatedInPlace) {
  const std::size_t count = 1 << 20;
  const Stream stream;
  Tensor state = Tensor::from(std::vector<float>(count, 1.0f), {static_cast<std::int64_t>(count)});
  const Tensor delta = Tensor::from(std::vector<float>(count, 0.5f), {static_cast<std::int64_t>(count)});
  Gate gate(stream);
  reset_peak_bytes();
  const std::uint64_t before = peak_bytes();
  for (int i = 0; i < 10; ++i) {
    state = state + delta;
    eval_async({state}, stream, History::drop);
  }
  gate.open();
  EXPECT_EQ(state.to_vector<float>()[count - 1], 6.0f);
  EXPECT_LT(peak_bytes(), before + count);
  EXPECT_EQ(delta.to_vector<float>()[0], 0.5f);
}

TEST(Stream, StateInFlightThatSomebodyHoldsStays) {
  const Stream stream;
  Gate gate(stream);
  Tensor first = zeros({50}) + 1;
  eval_async({first}, stream, History::drop);
  const Tensor twin = first.detach();
  const Tensor held = first;
  first = first * 5;
  eval_async({first}, stream, History::drop);
  const Tensor reader = twin + 100;
  gate.open();
  EXPECT_EQ(first.to_vector<float>()[0], 5);
  EXPECT_EQ(held.to_vector<float>()[0], 1);
  EXPECT_EQ(reader.to_vector<float>()[0], 101);
}

TEST(Stream, TheFirstErrorReachesWhatDependsOnIt) {
  const Stream a;
  const Stream b;
  const Tensor bad = bad_gather(9);
  const Evaluation failed = eval_async({bad}, a);
  const Tensor next = bad * 2;
  eval_async({next}, b, History::drop);
  const Tensor last = next + bad_gather(11);
  const Evaluation evaluation = eval_async({last}, a);
  for (const Evaluation& e : {failed, evaluation}) {
    try {
      e.wait();
      FAIL();
    } catch (const ArgumentError& error) {
      EXPECT_THAT(error.what(), HasSubstr("9"));
    }
  }
  EXPECT_EQ((zeros({2}) + 1).to_vector<float>(), (std::vector<float>{1, 1}));
}

TEST(Stream, AFullQueueHoldsTheSubmitterWhoHelps) {
  const Stream stream({.max_queued = 4});
  Gate gate(stream);
  const int calls = 100;  // more than fit: the submitter works them off, the worker being held
  Tensor x = zeros({10});
  std::vector<Evaluation> evaluations;
  for (int i = 0; i < calls; ++i) {
    x = x + 1;
    evaluations.push_back(eval_async({x}, stream));
  }
  const auto ready = [&] {
    return std::count_if(evaluations.begin(), evaluations.end(), [](const auto& e) { return e.ready(); });
  };
  EXPECT_EQ(ready(), calls - 4);
  gate.open();
  EXPECT_EQ(x.to_vector<float>()[0], calls);
}

TEST(Stream, BytesOfResultsAreLimitedToo) {
  const Stream stream({.max_queued_bytes = 1});
  Gate gate(stream);
  std::vector<Evaluation> evaluations;
  for (int i = 0; i < 10; ++i) evaluations.push_back(eval_async({zeros({1000}) + i}, stream));
  EXPECT_TRUE(evaluations[7].ready());
  EXPECT_FALSE(evaluations[8].ready());
  EXPECT_FALSE(evaluations[9].ready());
  gate.open();
  when_all(evaluations).wait();
}

TEST(Stream, SynchronizeWaitsForAllAndThrowsNothing) {
  const Stream stream;
  std::vector<Tensor> tensors;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(i == 10 ? bad_gather() : zeros({30}) + i);
    eval_async({tensors.back()}, stream);
  }
  EXPECT_NO_THROW(stream.synchronize());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(tensors[static_cast<std::size_t>(i)].is_evaluated());
}

TEST(Stream, WhatWasSubmittedRunsThoughTheStreamIsDropped) {
  std::promise<void> ran;
  Tensor x = zeros({4}) + 3;
  {
    const Stream stream;
    eval_async({x}, stream).then([&] { ran.set_value(); });
  }
  ran.get_future().wait();
  EXPECT_EQ(x.to_vector<float>()[0], 3);
}

TEST(Stream, ACallbackMayWaitForLaterEvaluationsOfItsStream) {
  const Stream stream;
  std::promise<float> result;
  eval_async({zeros({1}) + 1}, stream).then([&] {
    const Tensor y = zeros({1}) + 4;
    eval_async({y}, stream).wait();
    result.set_value(y.item<float>());
  });
  EXPECT_EQ(result.get_future().get(), 4);
}

TEST(Stream, ThreadsOfAStreamGiveTheBitsOfThatNumberOfThreads) {
  const Tensor a = random_normal(random_key(5), {300, 400}).eval();
  const auto compute = [&] { return sum(softmax(a) * a); };
  const int before = threads();
  set_threads(1);
  const auto expected = compute().item<float>();
  set_threads(before);
  const Tensor there = compute();
  eval_async({there}, Stream({.threads = 1})).wait();
  EXPECT_EQ(there.item<float>(), expected);
  EXPECT_EQ(threads(), before);
}

TEST(WhenAll, CompletesLastAndCarriesTheFirstErrorOfTheList) {
  EXPECT_TRUE(when_all({}).ready());
  const Stream stream;
  Gate gate(stream);
  const std::vector<Evaluation> parts{eval_async({zeros({2}) + 1}, stream),
                                      eval_async({bad_gather(8)}, stream),
                                      eval_async({bad_gather(12)}, stream)};
  const Evaluation all = when_all(parts);
  EXPECT_FALSE(all.ready());
  gate.open();
  parts[2].then([] {});
  try {
    all.wait();
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("8"));
  }
}

/// Every thread keeps a chain of its own over three streams, reads tensors of the other threads, lets some
/// evaluations fail and drops handles while they are in flight.
TEST(StreamStress, ThreadsStreamsErrorsAndDrops) {
  constexpr int recorders = 8;
  constexpr int rounds = 60;
  const std::array<Stream, 3> streams{Stream(), Stream({.threads = 1}), Stream({.max_queued = 3})};
  const Tensor shared = zeros({64}) + 1;  // all threads find it unevaluated
  std::atomic<int> callbacks{0};
  std::atomic<int> expected_callbacks{0};
  std::vector<std::thread> threads;
  std::vector<float> results(recorders);
  for (int t = 0; t < recorders; ++t)
    threads.emplace_back([&, t] {
      std::minstd_rand random(static_cast<unsigned>(t) + 1);
      Tensor x = zeros({64}) + t;
      for (int i = 0; i < rounds; ++i) {
        const Stream& stream = streams[random() % streams.size()];
        x = x + shared;
        const bool drop = random() % 2 == 0;
        const Evaluation evaluation = eval_async({x}, stream, drop ? History::drop : History::keep);
        switch (random() % 6) {
          case 0: evaluation.wait(); break;
          case 1:
            ++expected_callbacks;
            evaluation.then([&] { ++callbacks; });
            break;
          case 2: {
            const Tensor bad = bad_gather() * 2;
            const Evaluation failing = eval_async({bad}, stream);
            if (random() % 2 == 0) {
              EXPECT_THROW((void)(bad + 1).to_vector<float>(), ArgumentError);
            }
            break;
          }
          case 3: eval_async({sum(x)}, streams[random() % streams.size()]); break;
          case 4: {
            const Stream passing;
            eval_async({x * 2}, passing);
            break;
          }
          default: break;
        }
      }
      results[static_cast<std::size_t>(t)] = sum(x).item<float>();
    });
  for (auto& thread : threads) thread.join();
  for (int t = 0; t < recorders; ++t)
    EXPECT_EQ(results[static_cast<std::size_t>(t)], 64.0f * static_cast<float>(t + rounds));
  for (const Stream& stream : streams) stream.synchronize();
  for (int i = 0; i < 1000 && callbacks != expected_callbacks; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(callbacks, expected_callbacks);
}

TEST(StreamExitDeathTest, AProcessMayEndWithWorkInFlight) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        static Tensor x = ones({512, 512}) / 512;
        for (int i = 0; i < 100; ++i) {
          x = matmul(x, x);
          eval_async({x});
        }
        std::exit(3);
      },
      ::testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace wick
