#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/stream_queue.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/stream.h"

namespace wick {
namespace {

using ::testing::ElementsAre;

/// What happened, in order.
class Log {
 public:
  void add(const std::string& event) {
    {
      std::lock_guard lock(mutex_);
      events_.push_back(event);
    }
    changed_.notify_all();
  }
  void wait_for(const std::string& event) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return std::find(events_.begin(), events_.end(), event) != events_.end(); });
  }
  std::vector<std::string> events() {
    std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

/// Work of a device that is over when the test says so.
struct DeviceWork final : Work {
  DeviceWork(Log& log_, std::string name_) : log(log_), name(std::move(name_)) {}

  bool can_start_behind(Work&) override { return follows; }
  void start(Work* running) override {
    const auto* before = static_cast<const DeviceWork*>(running);
    log.add(before ? name + " starts behind " + before->name : name + " starts");
    if (fails_to_start) throw Error(name + " cannot start");
  }
  bool wait_briefly() override { return *over; }
  void finish() override {
    while (!*over) std::this_thread::yield();
    log.add(name + " is over");
    if (fails) throw Error(name + " failed");
  }

  Log& log;
  std::string name;
  bool follows = true;
  bool fails_to_start = false;
  bool fails = false;
  std::shared_ptr<std::atomic<bool>> over = std::make_shared<std::atomic<bool>>(false);
};

class StreamAhead : public ::testing::Test {
 protected:
  std::unique_ptr<DeviceWork> work(const std::string& name) {
    return std::make_unique<DeviceWork>(log_, name);
  }
  struct Submitted {
    Evaluation end;
    std::shared_ptr<std::atomic<bool>> over;
  };
  Submitted submit(std::unique_ptr<DeviceWork> work) {
    StreamQueue& queue = stream_.queue();
    const auto completion = std::make_shared<Completion>(queue.shared_from_this());
    const auto over = work->over;
    queue.submit(std::move(work), completion, 0, [] {});
    return {Evaluation(completion), over};
  }
  static std::string error_of(const Evaluation& end) {
    try {
      end.wait();
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }

  Log log_;
  Stream stream_;
};

TEST_F(StreamAhead, TheNextStartsWhileOneRunsAndOnlyTheNext) {
  const Submitted a = submit(work("a"));
  log_.wait_for("a starts");  // by the worker
  const Submitted b = submit(work("b"));
  const Submitted c = submit(work("c"));
  log_.wait_for("b starts behind a");
  *b.over = true;  // finished in order all the same
  EXPECT_FALSE(b.end.ready());
  EXPECT_THAT(log_.events(), ElementsAre("a starts", "b starts behind a"));
  *a.over = true;
  a.end.wait();
  b.end.wait();
  log_.wait_for("c starts");
  *c.over = true;
  c.end.wait();
  const std::vector<std::string> events = log_.events();
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[2], "a is over");
  EXPECT_EQ(events.back(), "c is over");
}

TEST_F(StreamAhead, WhatCannotStartBehindAnotherWaitsForItsEnd) {
  const Submitted a = submit(work("a"));
  log_.wait_for("a starts");
  auto apart = work("b");
  apart->follows = false;
  const Submitted b = submit(std::move(apart));
  *b.over = true;
  *a.over = true;
  b.end.wait();
  EXPECT_THAT(log_.events(), ElementsAre("a starts", "a is over", "b starts", "b is over"));
}

TEST_F(StreamAhead, ErrorsStayWithTheirWork) {
  auto failing = work("a");
  failing->fails = true;
  const Submitted a = submit(std::move(failing));
  log_.wait_for("a starts");
  const Submitted b = submit(work("b"));
  log_.wait_for("b starts behind a");
  *a.over = true;
  EXPECT_EQ(error_of(a.end), "a failed");
  auto stillborn = work("c");
  stillborn->fails_to_start = true;
  const Submitted c = submit(std::move(stillborn));
  log_.wait_for("c starts behind b");
  *b.over = true;
  EXPECT_EQ(error_of(b.end), "none");
  EXPECT_EQ(error_of(c.end), "c cannot start");
}

/// A callback may wait for any work of its stream, so none is in the worker's hands while it runs.
TEST_F(StreamAhead, CallbacksRunBetween) {
  const Submitted a = submit(work("a"));
  log_.wait_for("a starts");
  const Submitted b = submit(work("b"));
  log_.wait_for("b starts behind a");
  const Submitted c = submit(work("c"));
  const Evaluation called = a.end.then([&] {
    log_.add("callback");
    c.end.wait();  // done here: the worker is busy with this callback
  });
  *a.over = true;
  *b.over = true;
  *c.over = true;
  called.wait();
  EXPECT_THAT(log_.events(), ElementsAre("a starts", "b starts behind a", "a is over", "b is over",
                                         "callback", "c starts", "c is over"));
}

}  // namespace
}  // namespace wick
