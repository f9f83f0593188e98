#include <fmt/format.h>

#include "explain/format.h"
#include "explain/parts.h"

namespace wick {
namespace {

std::string dot_text(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void put_part(std::string& text, const Explanation& explanation, const Part& part, int& clusters) {
  for (std::uint32_t s : part.steps) {
    const ExplainedStep& step = explanation.steps[s];
    text += fmt::format("s{} [label=\"{} {}\\n{}\\n{}, {}\"{}];\n", s, s, dot_text(step.op),
                        spec_text(step.dtype, step.shape), flops_text(step.flops), bytes_text(step.bytes),
                        step.origin.gradient ? ", fillcolor=\"#fbf1e9\"" : "");
  }
  for (const Part& inner : part.parts) {
    text += fmt::format("subgraph cluster_{} {{\nlabel=\"{}{}\";\n", clusters++,
                        inner.gradient ? "gradient of " : "", dot_text(inner.name));
    put_part(text, explanation, inner, clusters);
    text += "}\n";
  }
}

}  // namespace

std::string Explanation::dot() const {
  std::string text = fmt::format(
      "digraph plan {{\nlabel=\"{}\";\nnode [shape=box, style=\"rounded,filled\", fillcolor=\"#eef4fb\", "
      "fontname=\"sans-serif\", fontsize=10];\n",
      dot_text(title));
  int clusters = 0;
  put_part(text, *this, parts_of(*this), clusters);
  for (std::size_t s = 0; s < steps.size(); ++s)
    for (const ExplainedOperand& operand : steps[s].operands)
      if (operand.step) text += fmt::format("s{} -> s{};\n", *operand.step, s);
  return text + "}\n";
}

}  // namespace wick
