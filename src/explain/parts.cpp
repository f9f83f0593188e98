#include "explain/parts.h"

#include <algorithm>
#include <string_view>

#include "explain/format.h"

namespace wick {
namespace {

void count(Part& part, const ExplainedStep& step) {
  ++part.count;
  part.flops += step.flops;
  part.bytes += step.bytes;
  part.floor_seconds += step.floor_seconds;
}

Part& inside(Part& parent, const std::string& name, bool gradient, std::uint32_t step) {
  const auto found = std::find_if(parent.parts.begin(), parent.parts.end(), [&](const Part& part) {
    return part.name == name && part.gradient == gradient;
  });
  if (found != parent.parts.end()) return *found;
  Part& added = parent.parts.emplace_back();
  added.name = name;
  added.gradient = gradient;
  added.first_step = step;
  return added;
}

}  // namespace

Part parts_of(const Explanation& explanation) {
  Part all;
  all.name = explanation.title;
  for (std::uint32_t s = 0; s < explanation.steps.size(); ++s) {
    const ExplainedStep& step = explanation.steps[s];
    count(all, step);
    const std::string name = step.origin.part.empty() ? part_text({}) : step.origin.part;
    std::string_view path = name;
    Part* part = &all;
    while (!path.empty()) {
      const std::size_t slash = path.find('/');
      part = &inside(*part, std::string(path.substr(0, slash)), step.origin.gradient, s);
      path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
      count(*part, step);
    }
    part->steps.push_back(s);
  }
  return all;
}

}  // namespace wick
