#include "train/loss_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

namespace wick {
namespace {

// The drawing area, in pixels of an 800 x 450 chart.
constexpr double chart_width = 800;
constexpr double chart_height = 450;
constexpr double left = 70;
constexpr double right = 780;
constexpr double top = 50;
constexpr double bottom = 395;

constexpr std::size_t most_points = 2000;
/// A loss of this size is a fault to read about, not to draw: it would flatten the rest, and overflow the
/// arithmetic.
constexpr double largest_loss = 1e30;
/// The moving average spans about this many values, or a twentieth of a long run.
constexpr double shortest_average = 10;

constexpr const char* style = R"(<style>
  svg { background: #ffffff; font: 13px sans-serif; }
  text { fill: #333333; }
  .grid { stroke: #dddddd; }
  .axis { stroke: #777777; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .train { stroke: #9bb8d8; stroke-width: 1; }
  .smoothed { stroke: #1f5fa8; }
  .valid { stroke: #c2571a; }
  circle.valid { fill: #c2571a; }
  @media (prefers-color-scheme: dark) {
    svg { background: #16191d; }
    text { fill: #d5d9de; }
    .grid { stroke: #31363d; }
    .axis { stroke: #8a929c; }
    .train { stroke: #46627f; }
    .smoothed { stroke: #7db4f0; }
    .valid { stroke: #f0a05a; }
    circle.valid { fill: #f0a05a; }
  }
</style>
)";

struct Point {
  double step;
  double loss;
};
using Series = std::vector<Point>;

bool drawable(double loss) { return std::abs(loss) < largest_loss; }

/// Exponential moving average; dividing by the weight seen so far keeps its beginning from leaning to 0.
Series smooth(const Series& series) {
  const double span = std::max(shortest_average, static_cast<double>(series.size()) / 20);
  const double keep = 1 - 1 / span;
  Series smoothed;
  double sum = 0;
  double weight = 0;
  for (const Point& point : series) {
    sum = keep * sum + (1 - keep) * point.loss;
    weight = keep * weight + (1 - keep);
    smoothed.push_back({point.step, sum / weight});
  }
  return smoothed;
}

Series thin(const Series& series) {
  if (series.size() <= most_points) return series;
  Series thinned;
  for (std::size_t i = 0; i < most_points; ++i)
    thinned.push_back(series[i * (series.size() - 1) / (most_points - 1)]);
  return thinned;
}

/// One axis: values from `low` to `high`, both multiples of `tick`.
struct Scale {
  double low = 0;
  double high = 1;
  double tick = 0.2;
  double pixel_low = 0;
  double pixel_high = 1;

  double pixel(double value) const {
    return pixel_low + (value - low) / (high - low) * (pixel_high - pixel_low);
  }
  int ticks() const { return static_cast<int>(std::lround((high - low) / tick)); }
};

/// About `wanted` ticks at 1, 2 or 5 times a power of ten, at least `smallest` apart.
Scale make_scale(double low, double high, int wanted, double smallest, double pixel_low, double pixel_high) {
  // A constant series, or one whose values differ by rounding only, gets an interval of its own.
  const double margin = std::max({std::abs(low), std::abs(high), smallest}) * 1e-3;
  if (high - low < margin) {
    low -= margin;
    high += margin;
  }
  const double raw = (high - low) / wanted;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double tick = 10 * power;
  for (double factor : {5.0, 2.0, 1.0})
    if (factor * power >= raw) tick = factor * power;
  tick = std::max(tick, smallest);
  return {std::floor(low / tick) * tick, std::ceil(high / tick) * tick, tick, pixel_low, pixel_high};
}

std::string points(const Series& series, const Scale& x, const Scale& y) {
  std::string text;
  for (const Point& point : thin(series))
    text += fmt::format("{}{:.1f},{:.1f}", text.empty() ? "" : " ", x.pixel(point.step), y.pixel(point.loss));
  return text;
}

std::string axes(const Scale& x, const Scale& y) {
  std::string svg;
  const auto out = std::back_inserter(svg);
  for (int i = 0; i <= y.ticks(); ++i) {
    const double value = y.low + i * y.tick;
    fmt::format_to(out, "<line class=\"grid\" x1=\"{0}\" y1=\"{2:.1f}\" x2=\"{1}\" y2=\"{2:.1f}\"/>\n", left,
                   right, y.pixel(value));
    fmt::format_to(out, "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.6g}</text>\n", left - 8,
                   y.pixel(value) + 4, value);
  }
  for (int i = 0; i <= x.ticks(); ++i) {
    const double value = x.low + i * x.tick;
    fmt::format_to(out, "<line class=\"axis\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>\n",
                   x.pixel(value), bottom, bottom + 5);
    fmt::format_to(out, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n", x.pixel(value),
                   bottom + 20, value);
  }
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\"/>\n", left, top,
                 bottom);
  fmt::format_to(out, "<line class=\"axis\" x1=\"{0}\" y1=\"{2}\" x2=\"{1}\" y2=\"{2}\"/>\n", left, right,
                 bottom);
  fmt::format_to(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">step</text>\n", (left + right) / 2,
                 bottom + 42);
  fmt::format_to(out, "<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">loss</text>\n",
                 (top + bottom) / 2);
  return svg;
}

std::string legend_entry(int index, const char* css_class, const char* label) {
  const double x = left + 190 * index;
  return fmt::format(
      "<line class=\"line {0}\" x1=\"{1}\" y1=\"26\" x2=\"{2}\" y2=\"26\"/>\n"
      "<text x=\"{3}\" y=\"30\">{4}</text>\n",
      css_class, x, x + 28, x + 36, label);
}

}  // namespace

std::string loss_curve_svg(std::span<const StepMetrics> rows) {
  Series train;
  Series valid;
  for (const StepMetrics& row : rows) {
    const auto step = static_cast<double>(row.step);
    if (drawable(row.loss)) train.push_back({step, row.loss});
    if (row.valid_loss && drawable(*row.valid_loss)) valid.push_back({step, *row.valid_loss});
  }
  const Series smoothed = smooth(train);

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "role=\"img\" "
      "aria-label=\"Loss over training steps\">\n{2}",
      chart_width, chart_height, style);
  const auto out = std::back_inserter(svg);
  if (train.empty() && valid.empty()) {
    fmt::format_to(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">no loss yet</text>\n</svg>\n",
                   (left + right) / 2, (top + bottom) / 2);
    return svg;
  }

  Point low{INFINITY, INFINITY};
  Point high{-INFINITY, -INFINITY};
  for (const Series* series : {&train, &valid})
    for (const Point& point : *series) {
      low = {std::min(low.step, point.step), std::min(low.loss, point.loss)};
      high = {std::max(high.step, point.step), std::max(high.loss, point.loss)};
    }
  const Scale x = make_scale(low.step, high.step, 8, 1, left, right);
  const Scale y = make_scale(low.loss, high.loss, 6, 1e-6, bottom, top);
  svg += axes(x, y);
  svg += legend_entry(0, "train", "training loss");
  svg += legend_entry(1, "smoothed", "moving average");
  fmt::format_to(out, "<polyline class=\"line train\" points=\"{}\"/>\n", points(train, x, y));
  fmt::format_to(out, "<polyline class=\"line smoothed\" points=\"{}\"/>\n", points(smoothed, x, y));
  if (!valid.empty()) {
    svg += legend_entry(2, "valid", "validation loss");
    fmt::format_to(out, "<polyline class=\"line valid\" points=\"{}\"/>\n", points(valid, x, y));
    // A single validation would be a line without length.
    for (const Point& point : thin(valid))
      fmt::format_to(out, "<circle class=\"valid\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n",
                     x.pixel(point.step), y.pixel(point.loss));
  }
  svg += "</svg>\n";
  return svg;
}

}  // namespace wick
