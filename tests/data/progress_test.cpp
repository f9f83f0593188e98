#include "core/progress.h"

#include <gtest/gtest.h>

namespace wick {
namespace {

TEST(Progress, DurationsAreShort) {
  EXPECT_EQ(format_duration(0.4), "0s");
  EXPECT_EQ(format_duration(59.4), "59s");
  EXPECT_EQ(format_duration(59.6), "1m00s");
  EXPECT_EQ(format_duration(185), "3m05s");
  EXPECT_EQ(format_duration(7620), "2h07m");
  EXPECT_EQ(format_duration(1e30), "999h59m");
  EXPECT_EQ(format_duration(-5), "0s");
}

TEST(Progress, TheLineHasCountBarTextAndTimeLeft) {
  // 60 columns: 7 of the count, 25 of the rest, 2 brackets and a space, 25 for the bar, a fifth of it full.
  EXPECT_EQ(progress_line(40, 200, "loss 2.1034", 80, 60),
            " 40/200 [#####....................]  loss 2.1034  1m20s left");
  EXPECT_EQ(progress_line(4, 4, "done", 0, 200), "4/4 [##############################]  done");
  EXPECT_EQ(progress_line(1, 0, "x", 0, 14), "1/0 [.....]  x") << "an unknown total";
}

TEST(Progress, ANarrowTerminalLosesTheBarThenTheEnd) {
  EXPECT_EQ(progress_line(4, 8, "loss 2.1", 0, 18), "4/8  loss 2.1");
  EXPECT_EQ(progress_line(4, 8, "loss 2.1", 0, 9), "4/8  loss");
  EXPECT_EQ(progress_line(4, 8, "loss 2.1", 0, 0), "");
}

TEST(Progress, SilentWithoutATerminal) {
  ::testing::internal::CaptureStderr();
  {
    ProgressBar bar;
    bar.show(1, 2, "x");
    bar.show(2, 2, "x");
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace wick
