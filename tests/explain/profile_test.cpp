#include "wick/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "support/temporary_directory.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/name_scope.h"
#include "wick/ops.h"

namespace wick {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::vector<json> spans(const json& trace, const std::string& category) {
  std::vector<json> found;
  for (const json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X" && event.at("cat") == category) found.push_back(event);
  return found;
}

bool has_span(const json& trace, const std::string& category, const std::string& name) {
  const std::vector<json> all = spans(trace, category);
  return std::any_of(all.begin(), all.end(), [&](const json& event) { return event.at("name") == name; });
}

/// Spans of one thread lie in one another or apart.
void expect_nested(const json& trace) {
  std::map<int, std::vector<std::pair<double, double>>> by_thread;
  for (const json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X")
      by_thread[event.at("tid")].emplace_back(event.at("ts").get<double>(),
                                              event.at("ts").get<double>() + event.at("dur").get<double>());
  for (auto& [thread, list] : by_thread) {
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    });
    std::vector<double> ends;
    for (const auto& [begin, end] : list) {
      while (!ends.empty() && ends.back() <= begin + 1e-3) ends.pop_back();
      if (!ends.empty()) {
        EXPECT_LE(end, ends.back() + 2e-3) << "thread " << thread << " at " << begin;
      }
      ends.push_back(end);
    }
  }
}

Tensor some_work(const Tensor& x) {
  const NameScope scope("part");
  return sum(matmul(x, x) * 2.0 + 1.0);
}

TEST(Profile, TraceHasRecordingPlanningAndEveryStep) {
  const Tensor x = random_normal(random_key(1), {64, 64}).eval().detach();
  const double salt = 0.123456;  // a structure that no other test has planned
  Profiler profiler;
  const Tensor y = some_work(x * salt);
  y.eval();
  some_work(x * salt).eval();
  const json trace = json::parse(profiler.stop().trace_json());

  expect_nested(trace);
  EXPECT_TRUE(has_span(trace, "record", "record part"));
  EXPECT_TRUE(has_span(trace, "plan", "plan: made anew"));
  EXPECT_TRUE(has_span(trace, "plan", "plan: found in the cache"));
  EXPECT_TRUE(has_span(trace, "plan", "optimise"));
  EXPECT_TRUE(has_span(trace, "pass", "lower"));
  EXPECT_TRUE(has_span(trace, "execute", "execute"));
  const std::vector<json> steps = spans(trace, "step");
  const auto product =
      std::find_if(steps.begin(), steps.end(), [](const json& e) { return e.at("name") == "matmul"; });
  ASSERT_NE(product, steps.end());
  EXPECT_EQ(product->at("args").at("FLOP"), 2 * 64 * 64 * 64);
  EXPECT_EQ(product->at("args").at("bytes"), 2 * 64 * 64 * 4);
  EXPECT_EQ(product->at("args").at("part"), "part");
  EXPECT_THAT(product->at("args").at("call").get<std::string>(), HasSubstr("profile_test.cpp"));
  EXPECT_GT(product->at("args").at("GFLOP/s"), 0);
}

TEST(Profile, SumsByOpCountEveryCall) {
  const Tensor x = random_normal(random_key(1), {32, 32}).eval().detach();
  Profiler profiler;
  for (int i = 0; i < 3; ++i) matmul(x, x).eval();
  const Profile profile = profiler.stop();
  ASSERT_EQ(profile.ops().size(), 1u);
  const OpTime& op = profile.ops()[0];
  EXPECT_EQ(op.op, "matmul");
  EXPECT_EQ(op.calls, 3u);
  EXPECT_EQ(op.flops, 3.0 * 2 * 32 * 32 * 32);
  EXPECT_EQ(op.bytes, 3.0 * 2 * 32 * 32 * 4) << "x is read once although it is both operands";
  EXPECT_GT(op.seconds, 0);
  EXPECT_GT(op.floor_seconds, 0);
  EXPECT_LE(op.seconds, profile.seconds());
  EXPECT_THAT(profile.summary(), HasSubstr("matmul"));
  EXPECT_THAT(profile.summary(), HasSubstr("of floor"));
}

TEST(Profile, AReadThatEvaluatesIsASpanWithItsLine) {
  const Tensor x = ones({4}).eval();
  Profiler profiler;
  const Tensor y = x + 3.5;
  const int line = __LINE__ - 1;
  y.to_vector<float>();
  y.to_vector<float>();  // it is there by now
  const Profile profile = profiler.stop();
  const std::vector<json> reads = spans(json::parse(profile.trace_json()), "read");
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(reads[0].at("name"), "a read evaluates its tensor");
  EXPECT_THAT(reads[0].at("args").at("recorded at").get<std::string>(),
              HasSubstr("profile_test.cpp:" + std::to_string(line)));
  EXPECT_THAT(profile.summary(), HasSubstr("a read evaluates its tensor"));
}

TEST(Profile, StepsOfAnotherStreamSayWhichOne) {
  const Tensor x = ones({4}).eval();
  Profiler profiler;
  const Evaluation running = (x * 1.25).eval_async();
  running.wait();
  const json trace = json::parse(profiler.stop().trace_json());
  expect_nested(trace);
  const std::vector<json> steps = spans(trace, "step");
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_GE(steps[0].at("args").at("stream"), 1);
  EXPECT_TRUE(has_span(trace, "eval", "eval_async: submit"));
}

TEST(Profile, IsBoundedAndSaysWhatItLacks) {
  const Tensor x = ones({4}).eval();
  Profiler profiler({.max_events = 5});
  for (int i = 0; i < 10; ++i) (x + 7.0).eval();
  const Profile profile = profiler.stop();
  EXPECT_GT(profile.dropped_events(), 0u);
  EXPECT_EQ(profile.ops().at(0).calls, 10u) << "sums go on";
  const json trace = json::parse(profile.trace_json());
  EXPECT_EQ(trace.at("otherData").at("dropped events"), profile.dropped_events());
  EXPECT_THAT(profile.summary(), HasSubstr("beyond the limit of 5"));
}

TEST(Profile, ThereIsOneAtATime) {
  Profiler first;
  EXPECT_THROW(Profiler(), ArgumentError);
  first.stop();
  EXPECT_THROW(first.stop(), ArgumentError);
  Profiler second;  // ends without stop
}

TEST(Profile, NothingIsRecordedOutside) {
  const Tensor x = ones({4}).eval();
  (x + 1.0).eval();
  Profiler profiler;
  const Profile profile = profiler.stop();
  EXPECT_TRUE(profile.ops().empty());
  EXPECT_TRUE(spans(json::parse(profile.trace_json()), "step").empty());
}

TEST(Profile, IsWrittenWholeOrNotAtAll) {
  const wick::testing::TemporaryDirectory directory;
  Profiler profiler;
  ones({4}).eval();
  const Profile profile = profiler.stop();
  const auto file = directory / "trace.json";
  profile.write(file);
  EXPECT_TRUE(json::parse(std::ifstream(file)).contains("traceEvents"));
  EXPECT_THROW(profile.write(directory / "absent" / "trace.json"), FileError);
}

}  // namespace
}  // namespace wick
