#include "explain/format.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>

namespace wick {
namespace {

template <std::size_t count>
std::string scaled(double value, double step, const std::array<const char*, count>& units) {
  std::size_t unit = 0;
  while (value >= step && unit + 1 < count) {
    value /= step;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} {}", value, units[0]) : fmt::format("{:.2f} {}", value, units[unit]);
}

}  // namespace

std::string flops_text(double flops) {
  return scaled(flops, 1000, std::array{"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"});
}

std::string bytes_text(double bytes) {
  return scaled(bytes, 1024, std::array{"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string seconds_text(double seconds) {
  return scaled(seconds * 1e9, 1000, std::array{"ns", "us", "ms", "s"});
}

std::string device_text(const Explanation& explanation) {
  return explanation.threads == 0 ? explanation.device
                                  : fmt::format("{}, {} threads", explanation.device, explanation.threads);
}

std::string spec_text(DType dtype, const Shape& shape) {
  return fmt::format("{}{}", name_of(dtype), shape.str());
}

std::string place_text(const ExplainedPlace& place) {
  const std::string offset = place.offset > 0 ? fmt::format(" + {}", place.offset) : "";
  switch (place.kind) {
    case ExplainedPlace::Kind::arena: return fmt::format("arena + {}", place.offset);
    case ExplainedPlace::Kind::input: return fmt::format("input {}{}", place.number, offset);
    case ExplainedPlace::Kind::result: return fmt::format("result {}{}", place.number, offset);
  }
  return {};
}

std::string places_text(const ExplainedStep& step) {
  std::string text = place_text(step.place);
  for (const ExplainedResult& more : step.more_results)
    text += fmt::format(", {} {}", name_of(more.dtype), place_text(more.place));
  return step.in_place ? text + ", in place" : text;
}

std::string line_text(const ExplainedOrigin& origin) {
  if (origin.line == 0) return {};
  return fmt::format("{}:{}", std::filesystem::path(origin.file).filename().string(), origin.line);
}

std::string part_text(const ExplainedOrigin& origin) {
  const std::string name = origin.part.empty() ? "\u2013" : origin.part;
  return origin.gradient ? "gradient of " + name : name;
}

std::string shortened(const std::string& text, std::size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace wick
