#include "optimize/fuse_rotations.h"

#include <array>
#include <optional>
#include <unordered_map>

#include "ops/attention_gradient.h"
#include "ops/attributes.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"

namespace wick {
namespace {

/// What reads attention's gradient: by rotations that go back by the same tables, or otherwise.
struct Readers {
  std::array<std::uint32_t, 2> tables{};  ///< cos and sin
  std::uint32_t rotations = 0;            ///< of q and of k
  std::uint32_t values = 0;               ///< readers of the gradient of v
  bool fits = true;
};

class Fusion {
 public:
  explicit Fusion(const Graph& graph) : graph_(graph), uses_(count_uses(graph)) {}

  Graph run(const PassContext& context) {
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) note(i);
    std::unordered_map<std::uint32_t, GraphNode> steps;
    for (const auto& [gradient, readers] : readers_)
      if (auto step = step_of(gradient, readers); step && has_kernel(graph_, *step, context))
        steps.emplace(gradient, std::move(*step));
    if (steps.empty()) return graph_;

    Rewriter out(graph_);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const auto gradient = rotated_.find(i);
      if (gradient != rotated_.end() && steps.contains(gradient->second)) {
        out.map(i, out[node(i).inputs[0]]);
        continue;
      }
      GraphNode copy = out.mapped_copy(i);
      if (const auto step = steps.find(i); step != steps.end()) {
        copy = step->second;
        for (std::uint32_t& input : copy.inputs) input = out[input];
      }
      out.map(i, out.append(std::move(copy)));
    }
    return out.finish();
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  /// The elements of attention's gradient that a node is a view of.
  std::optional<SliceAttrs> part(std::uint32_t i) const {
    if (!is(node(i), "slice") || !is(node(node(i).inputs[0]), "attention_gradient")) return std::nullopt;
    return node(i).attrs.as<SliceAttrs>();
  }

  void note(std::uint32_t i) {
    if (const auto slice = part(i)) {
      const std::uint32_t gradient = node(i).inputs[0];
      const auto& inputs = node(gradient).inputs;
      const std::int64_t rotated = elements(inputs[0]) + elements(inputs[1]);
      if (slice->start >= rotated) ++readers_[gradient].values;
    }
    if (is(node(i), "rope")) note_rotation(i);
  }

  /// A rotation of the gradient of q or k: rope(permute(reshape(slice))), of which each is read once.
  void note_rotation(std::uint32_t rope) {
    const std::uint32_t heads = node(rope).inputs[0];
    if (!is(node(heads), "permute") || uses_[heads] > 1) return;
    const std::uint32_t rows = node(heads).inputs[0];
    if (!is(node(rows), "reshape") || uses_[rows] > 1) return;
    const std::uint32_t flat = node(rows).inputs[0];
    const auto slice = part(flat);
    if (!slice || uses_[flat] > 1) return;
    const std::uint32_t gradient = node(flat).inputs[0];
    const std::uint32_t of = slice->start == 0 ? node(gradient).inputs[0] : node(gradient).inputs[1];
    const std::uint32_t negative = node(rope).inputs[2];
    Readers& readers = readers_[gradient];
    readers.fits = readers.fits && is(node(negative), "neg") && is_part_of(heads, *slice, gradient, of);
    if (!readers.fits) return;
    const std::array tables{node(rope).inputs[1], node(negative).inputs[0]};
    readers.fits =
        tables[0] < gradient && tables[1] < gradient && (readers.rotations == 0 || readers.tables == tables);
    readers.tables = tables;
    ++readers.rotations;
    rotated_.emplace(rope, gradient);
  }

  /// Whether a view has the place and shape of a gradient with respect to `of`, the heads side by side.
  bool is_part_of(std::uint32_t heads, const SliceAttrs& slice, std::uint32_t gradient,
                  std::uint32_t of) const {
    const auto order = node(heads).attrs.as<PermuteAttrs>().order;
    return node(heads).spec.shape == node(of).spec.shape && order[0] == 0 && order[1] == 2 && order[2] == 1 &&
           (slice.start == 0 || slice.start == elements(node(gradient).inputs[0]));
  }

  std::optional<GraphNode> step_of(std::uint32_t gradient, const Readers& readers) const {
    if (!readers.fits || readers.rotations == 0 || readers.rotations + readers.values != uses_[gradient])
      return std::nullopt;
    GraphNode step = node(gradient);
    // One table has the positions of both.
    if (node(step.inputs[0]).spec.shape[2] != node(step.inputs[1]).spec.shape[2]) return std::nullopt;
    step.op = &attention_rope_gradient_op();
    for (std::uint32_t table : readers.tables) step.inputs.push_back(table);
    return step;
  }

  std::int64_t elements(std::uint32_t i) const { return node(i).spec.shape.elements(); }

  const Graph& graph_;
  std::vector<std::uint32_t> uses_;
  std::unordered_map<std::uint32_t, Readers> readers_;
  std::unordered_map<std::uint32_t, std::uint32_t> rotated_;  // a rope -> the gradient that it reads
};

}  // namespace

Graph fuse_rotations(const Graph& graph, const PassContext& context) { return Fusion(graph).run(context); }

}  // namespace wick
