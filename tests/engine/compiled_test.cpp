#include "wick/compiled.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/storage.h"
#include "graph/node.h"
#include "support/error_text.h"
#include "support/test_device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/explain.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/numerics.h"
#include "wick/ops.h"

namespace wick {
namespace {

using testing::error_text;
using ::testing::HasSubstr;
using Tensors = std::vector<Tensor>;

Tensor numbers(std::int64_t count, float first = 0) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(first + static_cast<float>(i));
  return Tensor::from(values, {count}).to(test::test_device());
}

TEST(Compiled, PlansForTheThreadsThatAreChosen) {
  const int before = threads();
  const auto attend = [](const Tensors& in) -> Tensors { return {attention(in[0], in[0], in[0])}; };
  const Tensors x{zeros({1, 4, 250, 64}).eval().detach().to(test::test_device())};
  for (int count : {1, 4, 2}) {  // each takes scratch memory of its own
    set_threads(count);
    const Compiled compiled(attend);
    const Tensors y = compiled(x);  // by a thread that computed with other numbers
    const std::uint64_t found = plan_memory(attend(x)).arena_bytes;  // of the plan that the call has left
    EXPECT_EQ(found, explain(attend(x)).arena_bytes) << count << " threads";
  }
  set_threads(before);
}

TEST(Compiled, IsRecordedOnceForEachFormOfItsInputs) {
  int recorded = 0;
  const Tensor w = numbers(6, 1);
  const Compiled f([&](const Tensors& in) -> Tensors {
    ++recorded;
    return {in[0] * slice(w, 0, 0, in[0].dim(0)) + in[1], sum(in[0])};
  });
  for (int i = 0; i < 5; ++i) {
    const auto at = static_cast<float>(i);
    const Tensors out = f({numbers(3, at), numbers(3)});
    EXPECT_EQ(out[0].to_vector<float>(), (std::vector<float>{at, 2 * (at + 1) + 1, 3 * (at + 2) + 2}));
    EXPECT_EQ(out[1].item<float>(), 3 * at + 3);
  }
  EXPECT_EQ(recorded, 1);
  EXPECT_EQ(f({numbers(6), numbers(6)})[1].item<float>(), 15);
  EXPECT_EQ(f({cast(numbers(3), DType::f64), numbers(3)})[1].item<double>(), 3);
  EXPECT_EQ(recorded, 3);
  EXPECT_EQ(f.forms(), 3U);
}

TEST(Compiled, StridesAreAnotherForm) {
  const Compiled f([](const Tensors& in) -> Tensors { return {in[0] + 1}; });
  const Tensor x = reshape(numbers(6), {2, 3}).eval();
  EXPECT_EQ(f({x})[0].to_vector<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f({transpose(x).eval()})[0].to_vector<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(f({slice(x, 1, 2, -4, -1)})[0].to_vector<float>(), (std::vector<float>{3, 2, 1, 6, 5, 4}));
}

TEST(Compiled, GivesTheBitsOfAnEvaluation) {
  const auto function = [](const Tensors& in) -> Tensors {
    return {softmax(matmul(in[0], in[1]) * 0.3), grad(mean(square(matmul(in[0], in[1]))), {in[1]})[0]};
  };
  const Tensor a = reshape(sin(numbers(35)), {5, 7}).eval();
  const Tensor b = reshape(cos(numbers(21)), {7, 3}).eval();
  const Tensors expected = function({a, b});
  const Compiled f(function);
  for (int i = 0; i < 3; ++i) {
    const Tensors out = f({a, b});
    for (std::size_t k = 0; k < out.size(); ++k)
      EXPECT_EQ(out[k].to_vector<float>(), expected[k].to_vector<float>()) << i << ' ' << k;
  }
}

TEST(Compiled, OneTensorMayBeTwoInputsAndAnInputAnOutput) {
  const Compiled f([](const Tensors& in) -> Tensors { return {in[0] - 2 * in[1], in[1], in[1]}; });
  const Tensor x = numbers(2, 1);
  EXPECT_EQ(f({x, x})[0].to_vector<float>(), (std::vector<float>{-1, -2}));
  const Tensors out = f({x, numbers(2, 5)});  // the same form, but two tensors
  EXPECT_EQ(out[0].to_vector<float>(), (std::vector<float>{-9, -10}));
  EXPECT_EQ(out[1].to_vector<float>(), (std::vector<float>{5, 6}));
  EXPECT_EQ(out[2].to_vector<float>(), (std::vector<float>{5, 6}));
  EXPECT_EQ(f.forms(), 1U);
}

TEST(Compiled, WhatItCapturesStaysAsItWas) {
  Tensor captured = numbers(2);
  double factor = 3;
  const Compiled f([&](const Tensors& in) -> Tensors { return {in[0] * factor + captured}; });
  EXPECT_EQ(f({numbers(2, 1)})[0].to_vector<float>(), (std::vector<float>{3, 7}));
  captured = numbers(2, 100);
  factor = 4;
  EXPECT_EQ(f({numbers(2, 1)})[0].to_vector<float>(), (std::vector<float>{3, 7}));
}

TEST(Compiled, TakesInputsThatAreNotEvaluatedOrInFlight) {
  const Compiled f([](const Tensors& in) -> Tensors { return {in[0] + in[1]}; });
  const Tensor running = numbers(3) * 2;
  running.eval_async();
  EXPECT_EQ(f({running, numbers(3) + 1})[0].to_vector<float>(), (std::vector<float>{1, 4, 7}));
}

TEST(Compiled, WorksInsideAnEagerScopeAndUnderNumericChecks) {
  const Compiled f([](const Tensors& in) -> Tensors { return {sqrt(in[0])}; });
  {
    const EagerScope eager;
    EXPECT_EQ(f({numbers(2)})[0].to_vector<float>(), (std::vector<float>{0, 1}));
    EXPECT_EQ(f({numbers(2) * 4})[0].to_vector<float>(), (std::vector<float>{0, 2}));
  }
  if (test::test_device() == cpu) {
    const NumericCheckScope checks;
    EXPECT_THAT(error_text<NumericError>([&] { f({numbers(2, -1)}); }), HasSubstr("sqrt"));
  }
}

/// A loop would hold all that it computed.
TEST(Compiled, OutputsHaveNoHistoryUnderNumericChecksEither) {
  const Compiled f([](const Tensors& in) -> Tensors { return {sqrt(in[0])}; });
  const Tensor x = numbers(2);
  const NumericCheckScope checks;
  const Tensors called = f({x});
  EXPECT_EQ(x.node()->references(), 1U);
  const Tensors submitted = f.submit({x});
  EXPECT_EQ(submitted[0].to_vector<float>(), (std::vector<float>{0, 1}));
  EXPECT_EQ(x.node()->references(), 1U);
}

TEST(Compiled, RefusesWhatItCannotRecord) {
  const Tensor x = numbers(3);
  const Compiled reads([](const Tensors& in) -> Tensors { return {in[0] * sum(in[0]).item<float>()}; });
  EXPECT_EQ(reads({x})[0].to_vector<float>(),
            (std::vector<float>{0, 3, 6}));  // a number of the host: captured
  const Compiled evaluates([](const Tensors& in) -> Tensors {
    const Tensor y = in[0] + 1;
    y.eval();
    return {y * 2};
  });
  EXPECT_THAT(error_text<ArgumentError>([&] { evaluates({x}); }),
              HasSubstr("a compiled function must only record, but it evaluated or read the result of add"));
  EXPECT_THAT(error_text<ArgumentError>([&] { Compiled([](const Tensors&) { return Tensors{}; })({x}); }),
              HasSubstr("at least one tensor"));
  EXPECT_THAT(error_text<ArgumentError>([&] { Compiled([](const Tensors&) { return Tensors{{}}; })({x}); }),
              HasSubstr("an empty tensor"));
  EXPECT_THAT(error_text<ArgumentError>([] { Compiled({}); }), HasSubstr("no function"));
  EXPECT_THAT(error_text<ArgumentError>([&] { reads({x, {}}); }), HasSubstr("was given an empty tensor"));
  EXPECT_THAT(error_text<ArgumentError>(
                  [&] { Compiled([](const Tensors& in) { return in; }, {.donated = {1}})({x}); }),
              HasSubstr("input 1 of a compiled function is to be donated, but 1 were given"));
  EXPECT_EQ(evaluates.forms(), 0U);
}

TEST(Compiled, ErrorsInTheDataNameTheLine) {
  const Compiled f([](const Tensors& in) -> Tensors { return {take(in[0], in[1])}; });
  const auto at = [](std::int32_t i) {
    return Tensor::from(std::vector<std::int32_t>{i}, {1}).to(test::test_device());
  };
  EXPECT_EQ(f({numbers(3), at(2)})[0].item<float>(), 2);
  for (int i = 0; i < 3; ++i)
    EXPECT_THAT(error_text<ArgumentError>([&] {
                  f({numbers(3), at(7)});
                }),
                ::testing::AllOf(HasSubstr("index 7 is out of range"), HasSubstr("compiled_test.cpp")));
  EXPECT_EQ(f({numbers(3), at(1)})[0].item<float>(), 1);
}

/// A loop that carries state: results take the memory of donated inputs, evaluated at once or in flight.
TEST(Compiled, DonatedInputsGiveTheirMemory) {
  const Compiled f(
      [](const Tensors& in) -> Tensors {
        return {in[0] * 0.5 + in[1], sum(in[1])};
      },
      {.donated = {0}});
  for (const bool waits : {true, false}) {
    Tensor state = numbers(1000);
    const Tensor step = numbers(1000);
    const Tensor kept = state;  // another handle: this memory stays
    std::vector<double> expected(1000);
    for (std::size_t k = 0; k < expected.size(); ++k) expected[k] = static_cast<double>(k);
    const std::byte* place = nullptr;
    for (int i = 0; i < 30; ++i) {
      Tensors in{std::move(state), step};
      Tensors out = waits ? f(std::move(in)) : f.submit(std::move(in));
      state = std::move(out[0]);
      const std::byte* now = state.node()->value()->storage->data();
      if (waits && i > 0) {
        EXPECT_EQ(now, place) << i;
      }
      place = now;
      for (std::size_t k = 0; k < expected.size(); ++k)
        expected[k] = expected[k] * 0.5 + static_cast<double>(k);
    }
    const std::vector<float> found = state.to_vector<float>();
    for (std::size_t k = 0; k < expected.size(); ++k) ASSERT_NEAR(found[k], expected[k], 1e-3) << k;
    EXPECT_EQ(kept.to_vector<float>(), numbers(1000).to_vector<float>());
  }
  EXPECT_LE(f.forms(), 2U);  // with the memory and without
}

TEST(Compiled, SubmittedCallsCarryErrors) {
  const Compiled f([](const Tensors& in) -> Tensors { return {take(in[0], in[1]), in[0] * 2}; });
  const auto at = [](std::int32_t i) {
    return Tensor::from(std::vector<std::int32_t>{i}, {1}).to(test::test_device());
  };
  for (int i = 0; i < 3; ++i) {
    const Tensors good = f.submit({numbers(3), at(2)});
    const Tensors bad = f.submit({numbers(3), at(3)});
    const Tensors after = f.submit({bad[1], at(0)});
    EXPECT_EQ(good[0].item<float>(), 2);
    EXPECT_THAT(error_text<ArgumentError>([&] { bad[0].eval(); }), HasSubstr("index 3 is out of range"));
    EXPECT_THAT(error_text<ArgumentError>([&] { after[0].eval(); }), HasSubstr("index 3 is out of range"));
  }
}

TEST(Compiled, ManyThreadsCallIt) {
  const Compiled f([](const Tensors& in) -> Tensors { return {sum(in[0] * in[0])}; });
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::int64_t n = 1 + (i + t) % 3;
        float expected = 0;
        for (std::int64_t k = 0; k < n; ++k) expected += static_cast<float>((k + t) * (k + t));
        if (f({numbers(n, static_cast<float>(t))})[0].item<float>() != expected) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Compiled, KeepsTheFormsUsedLast) {
  const Compiled f([](const Tensors& in) -> Tensors { return {in[0] + 1}; });
  for (std::int64_t n = 1; n <= 70; ++n) EXPECT_EQ(f({numbers(n)})[0].dim(0), n);
  EXPECT_EQ(f.forms(), 64U);
}

}  // namespace
}  // namespace wick
