#include "explain/memory_picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "explain/format.h"

namespace wick {

std::string memory_svg(const Explanation& explanation) {
  constexpr double width = 1000;
  constexpr double height = 260;
  const double steps = std::max<double>(1, static_cast<double>(explanation.steps.size()));
  const double arena = std::max<double>(1, static_cast<double>(explanation.arena_bytes));
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"100%\" "
      "height=\"{1:.0f}\" "
      "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"arena over steps\">\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#f4f6f8\"/>\n",
      width, height);
  for (std::size_t s = 0; s < explanation.steps.size(); ++s) {
    const ExplainedStep& step = explanation.steps[s];
    if (step.place.kind != ExplainedPlace::Kind::arena) continue;
    const double bytes =
        static_cast<double>(step.shape.elements()) * static_cast<double>(size_of(step.dtype));
    const double x = static_cast<double>(s) / steps * width;
    const double w = static_cast<double>(step.last_use - s + 1) / steps * width;
    const double y = static_cast<double>(step.place.offset) / arena * height;
    const double h = bytes / arena * height;
    if (h < 0.05) continue;  // too thin to be seen
    text += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" stroke=\"#fff\" "
        "stroke-width=\"0.3\"><title>step {}: {} {}, {}, {}; read until step {}</title></rect>\n",
        x, height - y - h, w, h, step.origin.gradient ? "#d69a63" : "#6b9bd1", s, escaped(step.op),
        spec_text(step.dtype, step.shape), bytes_text(bytes), escaped(part_text(step.origin)), step.last_use);
  }
  return text + "</svg>\n";
}

}  // namespace wick
