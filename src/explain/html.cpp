#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "explain/format.h"
#include "explain/html_style.h"
#include "explain/memory_picture.h"
#include "explain/parts.h"

namespace wick {
namespace {

constexpr std::size_t most_changes = 20'000;  // characters of a pass

/// Numbers of a step, a part, or all steps of an op.
struct Cost {
  double flops = 0;
  double bytes = 0;
  double floor_seconds = 0;
};

/// The cells that every row of costs ends with.
std::string cost_cells(const Cost& cost, double whole) {
  const double share = whole > 0 ? cost.floor_seconds / whole : 0;
  return fmt::format(
      "<span>{}</span><span>{}</span><span>{}</span><span class=\"share\"><i style=\"width:{:.1f}px\"></i>"
      "<em>{:.1f}%</em></span>",
      flops_text(cost.flops), bytes_text(cost.bytes), seconds_text(cost.floor_seconds),
      90 * std::min(share, 1.0), 100 * share);
}

constexpr const char* head_row =
    "<div class=\"row head\"><span>{}</span><span>steps</span><span>work</span><span>traffic</span>"
    "<span>least time</span><span>share of least time</span></div>\n";

std::string card(const std::string& value, const std::string& label) {
  return fmt::format("<div class=\"card\"><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(label));
}

std::string cards(const Explanation& e) {
  std::string text = "<div class=\"cards\">\n";
  text += card(flops_text(e.flops()), "work");
  text += card(bytes_text(e.bytes()), "memory traffic");
  if (e.peak_bandwidth > 0)
    text += card(seconds_text(e.floor_seconds()), fmt::format("least time, at {:.0f} GFLOP/s, {:.1f} GB/s",
                                                              e.peak_flops * 1e-9, e.peak_bandwidth * 1e-9));
  text += card(bytes_text(static_cast<double>(e.peak_bytes())), "memory at its peak");
  text += card(bytes_text(static_cast<double>(e.input_bytes)), "inputs");
  text += card(fmt::format("{} \u2192 {}", e.graph.size(), e.steps.size()), "recorded nodes \u2192 steps");
  return text + "</div>\n";
}

std::string ops_section(const Explanation& e) {
  struct OpCost {
    std::string op;
    std::size_t steps = 0;
    Cost cost;
  };
  std::map<std::string, OpCost> sums;
  for (const ExplainedStep& step : e.steps) {
    OpCost& sum = sums[step.op];
    sum.op = step.op;
    ++sum.steps;
    sum.cost.flops += step.flops;
    sum.cost.bytes += step.bytes;
    sum.cost.floor_seconds += step.floor_seconds;
  }
  std::vector<OpCost> order;
  order.reserve(sums.size());
  for (auto& [op, sum] : sums) order.push_back(std::move(sum));
  std::stable_sort(order.begin(), order.end(), [](const OpCost& a, const OpCost& b) {
    return a.cost.floor_seconds > b.cost.floor_seconds;
  });
  std::string text = "<section id=\"ops\"><h2>By op</h2>\n" + fmt::format(fmt::runtime(head_row), "op");
  for (const OpCost& sum : order)
    text += fmt::format("<div class=\"row\"><span>{}</span><span>{}</span>{}</div>\n", escaped(sum.op),
                        sum.steps, cost_cells(sum.cost, e.floor_seconds()));
  return text + "</section>\n";
}

std::string step_row(const Explanation& e, std::uint32_t s) {
  const ExplainedStep& step = e.steps[s];
  std::string operands;
  for (const ExplainedOperand& operand : step.operands) {
    const std::string from = operand.step ? fmt::format("step {}", *operand.step) : place_text(operand.place);
    operands +=
        fmt::format("{}{} ({})", operands.empty() ? "" : ", ", spec_text(operand.dtype, operand.shape), from);
  }
  std::string notes = places_text(step);
  if (const std::string line = line_text(step.origin); !line.empty()) notes += " \u00b7 " + line;
  if (!step.attributes.empty()) notes += " \u00b7 " + shortened(step.attributes, 300);
  return fmt::format(
      "<div class=\"row step\"><span><b>{}</b> <code>{}</code><small>{}</small><small>{}</small></span>"
      "<span>{}</span>{}</div>\n",
      escaped(step.op), spec_text(step.dtype, step.shape), escaped(operands), escaped(notes), s,
      cost_cells({step.flops, step.bytes, step.floor_seconds}, e.floor_seconds()));
}

void put_part(std::string& text, const Explanation& e, const Part& part, bool outermost) {
  const std::string name = outermost && part.gradient ? "gradient of " + part.name : part.name;
  text += fmt::format(
      "<details class=\"part\"><summary class=\"row\"><span{}>{}</span><span>{}</span>{}</summary>\n",
      part.gradient ? " class=\"gradient\"" : "", escaped(name), part.count,
      cost_cells({part.flops, part.bytes, part.floor_seconds}, e.floor_seconds()));
  auto step = part.steps.begin();
  for (const Part& inner : part.parts) {
    while (step != part.steps.end() && *step < inner.first_step) text += step_row(e, *step++);
    put_part(text, e, inner, false);
  }
  while (step != part.steps.end()) text += step_row(e, *step++);
  text += "</details>\n";
}

std::string plan_section(const Explanation& e) {
  std::string text =
      "<section><h2>The plan</h2>\n<p class=\"soft\">Folded by the parts of the model, in the order in which "
      "the plan comes to them; the number of a step is its place in that order. An op of a gradient is in "
      "<span class=\"gradient\">the part whose gradient it is</span>.</p>\n"
      "<div class=\"controls\"><button id=\"open\">Unfold all</button><button id=\"close\">Fold all</button>"
      "<input id=\"filter\" placeholder=\"find: op, shape, line\"></div>\n<div id=\"plan\">\n";
  text += fmt::format(fmt::runtime(head_row), "part, step");
  for (const Part& part : parts_of(e).parts) put_part(text, e, part, true);
  return text + "</div></section>\n";
}

std::string memory_section(const Explanation& e) {
  if (e.arena_bytes == 0) return "";
  return fmt::format(
             "<section id=\"memory\"><h2>Memory of temporaries</h2>\n<p class=\"soft\">Steps from left to "
             "right, "
             "{} of addresses upwards; each rectangle is a value from the step that computes it to the last "
             "one "
             "that reads it.</p>\n",
             bytes_text(static_cast<double>(e.arena_bytes))) +
         memory_svg(e) + "</section>\n";
}

std::string passes_section(const Explanation& e) {
  std::string text = "<section id=\"passes\"><h2>What the optimiser did</h2>\n";
  for (const ExplainedPass& pass : e.passes) {
    const std::string summary = fmt::format("{}: {} \u2192 {} nodes, {:.2f} ms", pass.name, pass.nodes_before,
                                            pass.nodes_after, pass.milliseconds);
    if (pass.changes.empty()) {
      text += fmt::format("<p class=\"soft\">{}; nothing changed</p>\n", escaped(summary));
      continue;
    }
    text += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", escaped(summary),
                        escaped(shortened(pass.changes, most_changes)));
  }
  return text + "</section>\n";
}

std::string recorded_section(const Explanation& e) {
  std::string lines;
  for (std::size_t i = 0; i < e.graph.size(); ++i) {
    const ExplainedNode& node = e.graph[i];
    std::string inputs;
    for (std::uint32_t input : node.inputs) inputs += fmt::format("{}%{}", inputs.empty() ? "" : ", ", input);
    const std::string attributes = node.attributes.empty() ? "" : "; " + node.attributes;
    lines += fmt::format("%{} = {}({}{}) : {}   {} {}\n", i, node.op.empty() ? "data" : node.op, inputs,
                         attributes, spec_text(node.dtype, node.shape), part_text(node.origin),
                         line_text(node.origin));
  }
  return fmt::format(
      "<section id=\"recorded\"><h2>What was recorded</h2>\n<details><summary>{} nodes, {} outputs</summary>"
      "<pre>{}</pre></details></section>\n",
      e.graph.size(), e.outputs.size(), escaped(lines));
}

}  // namespace

std::string Explanation::html() const {
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<h1>{}</h1>\n<p class=\"soft\">{}</p>\n",
      escaped(title), html_style, escaped(title), escaped(device_text(*this)));
  text += cards(*this) + ops_section(*this) + plan_section(*this) + memory_section(*this);
  text += "<section id=\"picture\"><h2>Picture</h2>\n<div class=\"scroll\">" + svg() + "</div></section>\n";
  text += passes_section(*this) + recorded_section(*this);
  return text + fmt::format("<script>{}</script>\n</body>\n</html>\n", html_script);
}

}  // namespace wick
