#include "explain/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "explain/format.h"
#include "explain/parts.h"

namespace wick {
namespace {

constexpr std::size_t few_steps = 60;
constexpr std::size_t most_boxes = 400;
constexpr double letter = 6.4;       // pixels, on average, of the lines
constexpr double bold_letter = 7.9;  // and of the title
constexpr double line_height = 15;
constexpr double gap_x = 26;
constexpr double gap_y = 34;
constexpr double margin = 16;

/// Fills in the edges between boxes; `box_of` gives the box of a step, or none.
void connect(Picture& picture, const Explanation& explanation, const std::vector<std::int64_t>& box_of) {
  std::vector<std::set<std::uint32_t>> inputs(picture.boxes.size());
  for (std::size_t s = 0; s < explanation.steps.size(); ++s)
    for (const ExplainedOperand& operand : explanation.steps[s].operands) {
      if (!operand.step || box_of[s] < 0 || box_of[*operand.step] < 0) continue;
      if (box_of[s] != box_of[*operand.step])
        inputs[static_cast<std::size_t>(box_of[s])].insert(static_cast<std::uint32_t>(box_of[*operand.step]));
    }
  for (std::size_t b = 0; b < inputs.size(); ++b)
    picture.boxes[b].inputs.assign(inputs[b].begin(), inputs[b].end());
}

Picture picture_of_steps(const Explanation& explanation) {
  Picture picture;
  const double total = std::max(explanation.floor_seconds(), 1e-30);
  std::vector<std::int64_t> box_of(explanation.steps.size(), -1);
  for (std::size_t s = 0; s < explanation.steps.size() && s < most_boxes; ++s) {
    const ExplainedStep& step = explanation.steps[s];
    Box box;
    box.title = fmt::format("{} {}", s, step.op);
    box.lines = {spec_text(step.dtype, step.shape),
                 fmt::format("{}, {}", flops_text(step.flops), bytes_text(step.bytes))};
    box.hint = step.origin.part;
    box.gradient = step.origin.gradient;
    box.share = step.floor_seconds / total;
    box_of[s] = static_cast<std::int64_t>(picture.boxes.size());
    picture.boxes.push_back(std::move(box));
  }
  if (explanation.steps.size() > most_boxes)
    picture.note = fmt::format("the first {} of {} steps", most_boxes, explanation.steps.size());
  connect(picture, explanation, box_of);
  return picture;
}

void mark_steps(const Part& part, std::int64_t box, std::vector<std::int64_t>& box_of) {
  for (std::uint32_t step : part.steps) box_of[step] = box;
  for (const Part& inner : part.parts) mark_steps(inner, box, box_of);
}

Picture picture_of_parts(const Explanation& explanation, const Part& all) {
  Picture picture;
  const double total = std::max(explanation.floor_seconds(), 1e-30);
  std::vector<std::int64_t> box_of(explanation.steps.size(), -1);
  for (std::size_t p = 0; p < all.parts.size() && p < most_boxes; ++p) {
    const Part& part = all.parts[p];
    Box box;
    box.title = (part.gradient ? "gradient of " : "") + part.name;
    box.name = part.name;
    box.lines = {
        fmt::format("{} step{}, {}", part.count, part.count == 1 ? "" : "s", flops_text(part.flops)),
        fmt::format("{}, {:.1f}%", seconds_text(part.floor_seconds), 100 * part.floor_seconds / total)};
    box.gradient = part.gradient;
    box.share = part.floor_seconds / total;
    mark_steps(part, static_cast<std::int64_t>(p), box_of);
    picture.boxes.push_back(std::move(box));
  }
  connect(picture, explanation, box_of);
  return picture;
}

/// The layer of each box: below the lowest of what it reads, as far as that comes earlier in the plan.
std::vector<std::size_t> layers_of(const std::vector<Box>& boxes) {
  std::map<std::string, std::size_t> forward;
  for (std::size_t b = 0; b < boxes.size(); ++b)
    if (!boxes[b].gradient && !boxes[b].name.empty()) forward[boxes[b].name] = b;
  std::vector<std::size_t> layer(boxes.size(), 0);
  for (std::size_t b = 0; b < boxes.size(); ++b) {
    const auto beside = boxes[b].gradient ? forward.find(boxes[b].name) : forward.end();
    if (beside != forward.end()) {
      layer[b] = layer[beside->second];
      continue;
    }
    for (std::uint32_t input : boxes[b].inputs)
      if (input < b) layer[b] = std::max(layer[b], layer[input] + 1);
  }
  return layer;
}

/// Moves boxes of a layer towards the middle of what they read.
void order(std::vector<std::size_t>& row, const std::vector<Box>& boxes) {
  std::map<std::size_t, double> wanted;
  for (std::size_t b : row) {
    double sum = 0;
    for (std::uint32_t input : boxes[b].inputs) sum += boxes[input].x + boxes[input].width / 2;
    wanted[b] = boxes[b].inputs.empty() ? 0 : sum / static_cast<double>(boxes[b].inputs.size());
  }
  std::stable_sort(row.begin(), row.end(), [&](std::size_t a, std::size_t b) {
    if (boxes[a].gradient != boxes[b].gradient) return boxes[b].gradient;
    return wanted[a] < wanted[b];
  });
}

}  // namespace

Picture picture_of(const Explanation& explanation) {
  const Part all = parts_of(explanation);
  return explanation.steps.size() <= few_steps || all.parts.size() < 2 ? picture_of_steps(explanation)
                                                                       : picture_of_parts(explanation, all);
}

void lay_out(Picture& picture) {
  std::vector<Box>& boxes = picture.boxes;
  for (Box& box : boxes) {
    box.width = static_cast<double>(box.title.size()) * bold_letter + 20;
    for (const std::string& line : box.lines)
      box.width = std::max(box.width, static_cast<double>(line.size()) * letter + 20);
    box.height = static_cast<double>(1 + box.lines.size()) * line_height + 12;
  }
  const std::vector<std::size_t> layer = layers_of(boxes);
  std::vector<std::vector<std::size_t>> rows;
  for (std::size_t b = 0; b < boxes.size(); ++b) {
    if (layer[b] >= rows.size()) rows.resize(layer[b] + 1);
    rows[layer[b]].push_back(b);
  }
  double y = margin;
  for (std::vector<std::size_t>& row : rows) {
    if (row.empty()) continue;
    order(row, boxes);
    double x = margin;
    double height = 0;
    for (std::size_t b : row) {
      boxes[b].x = x;
      boxes[b].y = y;
      x += boxes[b].width + gap_x;
      height = std::max(height, boxes[b].height);
    }
    picture.width = std::max(picture.width, x - gap_x + margin);
    y += height + gap_y;
  }
  picture.height = y - gap_y + margin;
  for (const std::vector<std::size_t>& row : rows) {
    if (row.empty()) continue;
    const Box& last = boxes[row.back()];
    const double shift = (picture.width - margin - last.x - last.width) / 2;
    for (std::size_t b : row) boxes[b].x += shift;
  }
}

}  // namespace wick
