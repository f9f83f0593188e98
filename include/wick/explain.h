#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wick/eval.h"
#include "wick/tensor.h"

namespace wick {

/// Where something was recorded.
struct ExplainedOrigin {
  std::string file;
  int line = 0;           ///< 0: not known
  std::string part;       ///< names of the NameScopes around it, "model.layers.3/self_attn"; may be empty
  bool gradient = false;  ///< an op of the gradient of that part
};

/// An op that was recorded, or data that it starts from.
struct ExplainedNode {
  std::string op;  ///< empty for data
  std::string attributes;
  Shape shape;
  DType dtype = DType::f32;
  std::vector<std::uint32_t> inputs;  ///< positions in Explanation::graph
  ExplainedOrigin origin;
};

/// What one pass of the optimiser did.
struct ExplainedPass {
  std::string name;
  double milliseconds = 0;
  std::size_t nodes_before = 0;
  std::size_t nodes_after = 0;
  std::string changes;  ///< a line a node: "- " gone, "+ " new; empty when nothing changed
};

/// Where a value lies while a plan runs.
struct ExplainedPlace {
  enum class Kind { arena, input, result };
  Kind kind = Kind::arena;
  std::uint32_t number = 0;  ///< of the input or the result
  std::uint64_t offset = 0;  ///< in bytes, in the arena, the input or the result
};

struct ExplainedOperand {
  Shape shape;
  DType dtype = DType::f32;
  ExplainedPlace place;
  std::optional<std::uint32_t> step;  ///< the step that computed it; none for data
};

/// A result of a step behind its first one.
struct ExplainedResult {
  Shape shape;
  DType dtype = DType::f32;
  ExplainedPlace place;
};

/// One kernel that runs.
struct ExplainedStep {
  std::string op;
  std::string attributes;  ///< for a group of elementwise ops, its program
  std::vector<ExplainedOperand> operands;
  Shape shape;
  DType dtype = DType::f32;
  ExplainedPlace place;
  std::vector<ExplainedResult> more_results;  ///< of a group of elementwise ops: those behind the first
  std::uint32_t last_use = 0;                 ///< the last step that reads the result
  bool in_place = false;                      ///< the result overwrites an operand
  double flops = 0;
  double bytes = 0;  ///< each operand read once, the result written once
  double floor_seconds = 0;
  ExplainedOrigin origin;
};

/// An evaluation taken apart: the recorded graph, what each pass made of it, and the plan. A value; the
/// members that render it read nothing else.
struct Explanation {
  std::string title;
  std::string device;
  int threads = 0;  ///< that a plan uses; 0 on a GPU
  std::vector<ExplainedNode> graph;
  std::vector<std::uint32_t> outputs;  ///< positions in `graph`
  std::vector<ExplainedPass> passes;
  std::vector<ExplainedStep> steps;
  std::uint64_t arena_bytes = 0;
  std::uint64_t result_bytes = 0;
  std::uint64_t input_bytes = 0;

  /// What the machine can do at most, as measured: matrix products (floating-point operations a second) of
  /// the dtype that most of the plan's are in, and reading memory. 0: not known.
  double peak_flops = 0;
  double peak_bandwidth = 0;

  std::uint64_t peak_bytes() const noexcept { return arena_bytes + result_bytes; }
  double flops() const noexcept;
  double bytes() const noexcept;
  /// Sum of the steps' floors: each takes at least its FLOPs at the peak rate and its bytes at the bandwidth.
  double floor_seconds() const noexcept;

  /// For reading in a terminal.
  std::string text() const;
  /// Everything, as one JSON object.
  std::string json() const;
  /// The plan for Graphviz, a cluster a part.
  std::string dot() const;
  /// A picture of the plan: its steps, or where those are many, its parts, gradients beside what they are
  /// the gradients of.
  std::string svg() const;
  /// One page that needs nothing else: totals, passes, memory over time, the picture, and the plan folded by
  /// part.
  std::string html() const;
};

/// Explains what `eval(outputs, history)` would do; computes nothing and keeps nothing. Outputs that have a
/// value already are left out. Throws what planning throws, ArgumentError for an empty tensor.
Explanation explain(std::span<const Tensor> outputs, History history = History::keep);
Explanation explain(std::initializer_list<Tensor> outputs, History history = History::keep);

}  // namespace wick
