#include "train/metrics.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/data_harness.h"
#include "train/loss_curve.h"
#include "wick/error.h"

namespace wick {
namespace {

using namespace test;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* header = "step,epoch,loss,grad_norm,lr,tokens_per_second,peak_bytes,valid_loss\n";

StepMetrics metrics_of(std::int64_t step, double loss) {
  StepMetrics m;
  m.step = step;
  m.epoch = 0.5;
  m.loss = loss;
  m.grad_norm = 1.25;
  m.learning_rate = 2e-4;
  m.tokens_per_second = 1000.5;
  m.peak_bytes = 123456789012;
  return m;
}

TEST(MetricsJson, HasTheDocumentedFields) {
  StepMetrics m = metrics_of(3, 2.5);
  EXPECT_EQ(metrics_json(m),
            R"({"step":3,"loss":2.5,"grad_norm":1.25,"lr":0.0002,"tokens_per_second":1000.5,)"
            R"("peak_bytes":123456789012})");
  m.valid_loss = 2.0;
  m.loss = std::nan("");
  const auto line = nlohmann::json::parse(metrics_json(m));
  EXPECT_EQ(line["valid_loss"], 2.0);
  EXPECT_TRUE(line["loss"].is_null());
}

TEST(MetricsWriter, WritesATableAtOnce) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "metrics.csv";
  MetricsWriter writer(file, 0);
  StepMetrics m = metrics_of(1, 0.1);
  writer.write(m);
  m.step = 2;
  m.valid_loss = 0.3;
  writer.write(m);
  EXPECT_EQ(read_text(file), std::string(header) +
                                 "1,0.5,0.1,1.25,0.0002,1000.5,123456789012,\n"
                                 "2,0.5,0.1,1.25,0.0002,1000.5,123456789012,0.3\n");
}

TEST(MetricsWriter, AResumedRunDropsLaterStepsAndATornLine) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "metrics.csv";
  {
    MetricsWriter writer(file, 0);
    for (int step = 1; step <= 5; ++step) writer.write(metrics_of(step, 1.0 / step));
  }
  std::ofstream(file, std::ios::app) << "6,0.5,0.1";
  {
    MetricsWriter writer(file, 3);
    ASSERT_EQ(writer.rows().size(), 3u);
    EXPECT_EQ(writer.rows()[2].loss, 1.0 / 3) << "all digits survive";
    EXPECT_FALSE(writer.rows()[2].valid_loss);
    writer.write(metrics_of(4, 7));
  }
  MetricsWriter again(file, 4);
  ASSERT_EQ(again.rows().size(), 4u);
  EXPECT_EQ(again.rows()[3].loss, 7);
  EXPECT_EQ(MetricsWriter(file, 0).rows().size(), 0u);
  EXPECT_EQ(read_text(file), header);
}

TEST(MetricsWriter, ResumingWithoutAFormerTableBeginsOne) {
  const TemporaryDirectory directory;
  MetricsWriter writer(directory.path() / "metrics.csv", 10);
  EXPECT_EQ(read_text(directory.path() / "metrics.csv"), header);
}

std::string format_error(const std::filesystem::path& file) {
  try {
    MetricsWriter writer(file, 5);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "no FormatError";
}

TEST(MetricsWriter, AnotherFileIsNotContinuedAndNotOverwritten) {
  const TemporaryDirectory directory;
  const auto other = directory.write("other.csv", "a,b\n1,2\n");
  EXPECT_THAT(format_error(other),
              HasSubstr("other.csv: is not a table of metrics to continue; its first line must "
                        "be step,epoch"));
  EXPECT_EQ(read_text(other), "a,b\n1,2\n");
  const auto damaged =
      directory.write("damaged.csv", std::string(header) + "1,0,0,0,0,0,0,\n1,x,0,0,0,0,0,\n");
  EXPECT_THAT(format_error(damaged), HasSubstr("damaged.csv:3: is not a row of metrics; move the file away"));
  EXPECT_THROW(MetricsWriter(directory.path() / "no" / "metrics.csv", 0), FileError);
}

TEST(MetricsWriter, AFullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const TemporaryDirectory directory;
  MetricsWriter writer(directory.path() / "metrics.csv", 0);
  // The descriptor of the table is the only one open on it; put the full device in its place.
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    if (std::filesystem::read_symlink(entry, ignored) != directory.path() / "metrics.csv") continue;
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    dup2(full, std::stoi(entry.path().filename()));
    close(full);
  }
  try {
    writer.write(metrics_of(1, 1));
    FAIL() << "no FileError";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("metrics.csv"));
    EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
  }
}

/// How often a tag is opened; and that every tag is closed, in order (the writer makes no comments or
/// entities).
std::map<std::string, int> tags_of(const std::string& svg) {
  std::map<std::string, int> count;
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    if (end == std::string::npos) ADD_FAILURE() << "an open tag";
    const std::string tag = svg.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /"));
    if (tag.front() == '/') {
      EXPECT_EQ(open.empty() ? "" : open.back(), tag.substr(1));
      if (!open.empty()) open.pop_back();
    } else {
      ++count[name];
      if (tag.back() != '/') open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty());
  return count;
}

std::vector<std::pair<double, double>> points_of(const std::string& svg, const std::string& css_class) {
  const std::string begin = "<polyline class=\"line " + css_class + "\" points=\"";
  const std::size_t at = svg.find(begin);
  std::vector<std::pair<double, double>> points;
  if (at == std::string::npos) return points;
  std::istringstream text(
      svg.substr(at + begin.size(), svg.find('"', at + begin.size()) - at - begin.size()));
  for (std::pair<double, double> p; text >> p.first && text.ignore() && text >> p.second;)
    points.push_back(p);
  return points;
}

TEST(LossCurve, DrawsTheThreeSeriesWithinTheAxes) {
  std::vector<StepMetrics> rows;
  for (int step = 1; step <= 100; ++step) rows.push_back(metrics_of(step, 5.0 / step));
  rows[49].valid_loss = 2.0;
  rows[99].valid_loss = 1.0;
  const std::string svg = loss_curve_svg(rows);
  const auto tags = tags_of(svg);
  EXPECT_EQ(tags.at("svg"), 1);
  EXPECT_EQ(tags.at("polyline"), 3);
  EXPECT_EQ(tags.at("circle"), 2);
  for (const char* word : {">step<", ">loss<", ">training loss<", ">moving average<", ">validation loss<",
                           "prefers-color-scheme: dark", "xmlns=\"http://www.w3.org/2000/svg\""})
    EXPECT_THAT(svg, HasSubstr(word));
  const auto train = points_of(svg, "train");
  ASSERT_EQ(train.size(), 100u);
  for (const auto& [x, y] : train) {
    EXPECT_GE(x, 70);
    EXPECT_LE(x, 780);
    EXPECT_GE(y, 50);
    EXPECT_LE(y, 395);
  }
  // Ticks every 20 steps from 0 to 100, every 1 from 0 to 5: 7.1 pixels a step, 69 pixels a unit of loss.
  EXPECT_NEAR(train[9].first, 70 + 10 * 7.1, 0.06);
  EXPECT_NEAR(train[9].second, 395 - 0.5 * 69, 0.06);
  EXPECT_NEAR(points_of(svg, "valid")[1].second, 395 - 69, 0.06);
  // The average of the falling curve lies above it, so its pixels are higher up.
  EXPECT_LT(points_of(svg, "smoothed")[50].second, train[50].second);
}

TEST(LossCurve, AverageOfAConstantIsTheConstant) {
  std::vector<StepMetrics> rows;
  for (int step = 1; step <= 30; ++step) rows.push_back(metrics_of(step, 3));
  const std::string svg = loss_curve_svg(rows);
  EXPECT_EQ(points_of(svg, "train"), points_of(svg, "smoothed"));
}

TEST(LossCurve, StrangeRunsGiveAFileToo) {
  EXPECT_THAT(loss_curve_svg({}), HasSubstr("no loss yet"));
  tags_of(loss_curve_svg({}));
  const std::vector<StepMetrics> single{metrics_of(1, 2)};
  EXPECT_EQ(points_of(loss_curve_svg(single), "train").size(), 1u);
  const std::vector<StepMetrics> odd{metrics_of(1, 2),     metrics_of(2, NAN), metrics_of(3, INFINITY),
                                     metrics_of(4, 1e300), metrics_of(5, 0),   metrics_of(6, -1)};
  const std::string svg = loss_curve_svg(odd);
  EXPECT_EQ(points_of(svg, "train").size(), 3u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  tags_of(svg);
}

TEST(LossCurve, ALongRunIsThinnedFromItsFirstToItsLastStep) {
  std::vector<StepMetrics> rows;
  for (int step = 1; step <= 200000; ++step) rows.push_back(metrics_of(step, 1 + step % 7));
  const std::string svg = loss_curve_svg(rows);
  EXPECT_LT(svg.size(), 1u << 20);
  const auto train = points_of(svg, "train");
  EXPECT_EQ(train.size(), 2000u);
  EXPECT_NEAR(train.back().first, 780, 0.06);
}

}  // namespace
}  // namespace wick
