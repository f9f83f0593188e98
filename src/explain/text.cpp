#include <fmt/format.h>

#include "explain/format.h"
#include "wick/explain.h"

namespace wick {
namespace {

std::string operands_text(const ExplainedStep& step) {
  std::string text;
  for (const ExplainedOperand& operand : step.operands)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", spec_text(operand.dtype, operand.shape));
  return text;
}

std::string total(const char* name, const std::string& value) {
  return fmt::format("{:<22} {}\n", name, value);
}

}  // namespace

std::string Explanation::text() const {
  std::string text = title + "\n\n";
  text += total("device", device_text(*this));
  text += total("recorded", fmt::format("{} nodes, {} outputs", graph.size(), outputs.size()));
  text += total("plan", fmt::format("{} steps", steps.size()));
  text += total("work", fmt::format("{}, {} of memory traffic", flops_text(flops()), bytes_text(bytes())));
  if (peak_bandwidth > 0)
    text += total("least time",
                  fmt::format("{} ({:.0f} GFLOP/s and {:.1f} GB/s measured here)",
                              seconds_text(floor_seconds()), peak_flops * 1e-9, peak_bandwidth * 1e-9));
  text += total("memory", fmt::format("{} at its peak: temporaries {}, results {}; inputs {}",
                                      bytes_text(static_cast<double>(peak_bytes())),
                                      bytes_text(static_cast<double>(arena_bytes)),
                                      bytes_text(static_cast<double>(result_bytes)),
                                      bytes_text(static_cast<double>(input_bytes))));

  text += fmt::format("\n{:<24} {:>8} {:>8} {:>10}\n", "pass", "nodes", "after", "ms");
  for (const ExplainedPass& pass : passes)
    text += fmt::format("{:<24} {:>8} {:>8} {:>10.3f}{}\n", pass.name, pass.nodes_before, pass.nodes_after,
                        pass.milliseconds, pass.changes.empty() ? "  nothing changed" : "");

  text += fmt::format("\n{:>5} {:<26} {:<22} {:>13} {:>11} {:>10}  {:<22} {:<34} {}\n", "step", "op",
                      "result", "work", "traffic", "least", "place", "part", "line");
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const ExplainedStep& step = steps[s];
    text += fmt::format("{:>5} {:<26} {:<22} {:>13} {:>11} {:>10}  {:<22} {:<34} {}\n", s, step.op,
                        spec_text(step.dtype, step.shape), flops_text(step.flops), bytes_text(step.bytes),
                        seconds_text(step.floor_seconds), places_text(step), part_text(step.origin),
                        line_text(step.origin));
    text += fmt::format("      ({}){}\n", operands_text(step),
                        step.attributes.empty() ? "" : fmt::format(" {}", shortened(step.attributes, 100)));
  }
  return text;
}

}  // namespace wick
