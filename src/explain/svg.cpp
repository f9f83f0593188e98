#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "explain/format.h"
#include "explain/picture.h"

namespace wick {
namespace {

/// From the edge of one box to that of another: downwards, upwards, or sideways within a layer.
std::string edge_path(const Box& from, const Box& to) {
  const auto curve = [](double x1, double y1, double cx1, double cy1, double cx2, double cy2, double x2,
                        double y2) {
    return fmt::format("M{:.1f},{:.1f} C{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}", x1, y1, cx1, cy1, cx2,
                       cy2, x2, y2);
  };
  if (from.y == to.y) {
    const bool right = from.x < to.x;
    const double x1 = right ? from.x + from.width : from.x;
    const double x2 = right ? to.x : to.x + to.width;
    const double y = from.y + from.height / 2;
    return curve(x1, y, (x1 + x2) / 2, y, (x1 + x2) / 2, y, x2, y);
  }
  const bool down = from.y < to.y;
  const double x1 = from.x + from.width / 2;
  const double y1 = down ? from.y + from.height : from.y;
  const double x2 = to.x + to.width / 2;
  const double y2 = down ? to.y : to.y + to.height;
  return curve(x1, y1, x1, (y1 + y2) / 2, x2, (y1 + y2) / 2, x2, y2);
}

/// Whether an edge passes by other layers: those that go far are many, and drawn faintly.
bool goes_far(const Box& from, const Box& to) {
  return std::abs(from.y - to.y) > 2 * std::max(from.height, to.height);
}

std::string text_line(double x, double y, const char* style, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>", x, y, style, escaped(text));
}

std::string box_text(const Box& box) {
  std::string text = fmt::format(
      "<g><title>{}</title><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"6\" "
      "class=\"{}\"/>",
      escaped(box.hint.empty() ? box.title : box.title + "\n" + box.hint), box.x, box.y, box.width,
      box.height, box.gradient ? "box gradient" : "box");
  // The bar at the bottom is the share of the least time.
  text += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"3\" class=\"share\"/>",
                      box.x + 6, box.y + box.height - 5, (box.width - 12) * std::min(box.share, 1.0));
  double y = box.y + 17;
  text += text_line(box.x + 10, y, "title", box.title);
  for (const std::string& line : box.lines) text += text_line(box.x + 10, y += 15, "line", line);
  return text + "</g>\n";
}

constexpr const char* style =
    "<style>.box{fill:#eef4fb;stroke:#4a7ab0}.gradient{fill:#fbf1e9;stroke:#b0743f}.share{fill:#c2453a}"
    ".title{font:600 12px sans-serif;fill:#1c2733}.line{font:11px sans-serif;fill:#4d5b69}"
    ".edge{fill:none;stroke:#8a97a5;stroke-width:1.1;marker-end:url(#tip)}"
    ".far{stroke:#c3ccd5;stroke-width:0.6;opacity:0.5;marker-end:none}</style>\n"
    "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
    "orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#8a97a5\"/></marker></defs>\n";

}  // namespace

std::string Explanation::svg() const {
  Picture picture = picture_of(*this);
  lay_out(picture);
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" aria-label=\"{2}\">\n{3}"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      picture.width, picture.height, escaped(title), style);
  for (const Box& box : picture.boxes)
    for (std::uint32_t input : box.inputs)
      text += fmt::format("<path class=\"{}\" d=\"{}\"/>\n",
                          goes_far(picture.boxes[input], box) ? "edge far" : "edge",
                          edge_path(picture.boxes[input], box));
  for (const Box& box : picture.boxes) text += box_text(box);
  if (!picture.note.empty()) text += text_line(10, 12, "line", picture.note);
  return text + "</svg>\n";
}

}  // namespace wick
