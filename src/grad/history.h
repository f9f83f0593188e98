#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/walk.h"
#include "optimize/graph.h"

namespace wick {

/// How a history is read.
struct Reading {
  bool stop_at_targets = false;  ///< what a target was computed from is no part of it
  bool recognize = true;         ///< see GradHistory
};

/// How a tensor came about, for its gradient with respect to `targets`: the ops, inputs before users.
///
/// Where plain ops mean a composite, the composite stands in their place (see optimize/recognize.h), so that
/// its gradient is taken and nobody reads what they compute on the way; it can then be computed by the
/// composite's kernel. The values are the recorded ones all the same: those of what the composite reads, and
/// of its result. Not in the way of a composite: a target, and what was evaluated already.
class GradHistory {
 public:
  static constexpr std::uint32_t absent = GraphNode::unrecorded;

  GradHistory(const Tensor& output, std::span<const Tensor> targets, Reading reading);

  std::size_t size() const noexcept { return values_.size(); }
  /// The op at position i; null for data.
  const Op* op(std::size_t i) const noexcept { return graph_ ? graph_->nodes[i].op : walk_.order[i]->op(); }
  const Attrs& attrs(std::size_t i) const noexcept {
    return graph_ ? graph_->nodes[i].attrs : walk_.order[i]->attrs();
  }
  SourceLocation where(std::size_t i) const noexcept { return values_[i].node()->where(); }
  /// Positions of the inputs; none where there are none, or where they do not belong to the history.
  std::span<const std::uint32_t> inputs(std::size_t i) const {
    return graph_ ? std::span<const std::uint32_t>(graph_->nodes[i].inputs) : walk_.inputs(i);
  }
  const Tensor& value(std::size_t i) const { return values_[i]; }

  std::uint32_t output() const { return graph_ ? graph_->outputs[0] : walk_.roots[0]; }
  /// Where each target is, or `absent`.
  std::span<const std::uint32_t> targets() const noexcept { return targets_; }

 private:
  void read_recorded(std::span<const Tensor> targets);
  void read_recognized();

  Walk walk_;
  std::shared_ptr<const Graph> graph_;  // of the walk, with composites; null where none was found
  std::vector<Tensor> values_;
  std::vector<std::uint32_t> targets_;
};

}  // namespace wick
