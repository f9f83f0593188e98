#include "plan/layouts.h"

#include <optional>
#include <span>
#include <vector>

#include "ops/attributes.h"

namespace wick {
namespace {

bool is_matrix(const Layout& layout) {
  const int rank = layout.shape.rank();
  if (rank < 2) return layout.is_contiguous();
  const std::int64_t rows = layout.shape[rank - 2];
  const std::int64_t columns = layout.shape[rank - 1];
  const std::int64_t row_stride = layout.strides[static_cast<std::size_t>(rank - 2)];
  const std::int64_t column_stride = layout.strides[static_cast<std::size_t>(rank - 1)];
  const bool by_rows = (column_stride == 1 || columns == 1) && (row_stride >= columns || rows == 1);
  const bool by_columns = (row_stride == 1 || rows == 1) && (column_stride >= rows || columns == 1);
  return by_rows || by_columns;
}

bool keeps_rows(const GraphNode& permutation) {
  const int last = permutation.spec.shape.rank() - 1;
  return permutation.attrs.as<PermuteAttrs>().order[static_cast<std::size_t>(last)] == last;
}

/// Where a tensor of `shape` lies whose permutation is row-major.
Layout row_major_behind(const GraphNode& permutation, const Shape& shape) {
  const auto order = permutation.attrs.as<PermuteAttrs>().order;
  const Strides strides = contiguous_strides(permutation.spec.shape);
  Layout layout{shape, {}, 0};
  for (std::size_t d = 0; d < static_cast<std::size_t>(shape.rank()); ++d)
    layout.strides[static_cast<std::size_t>(order[d])] = strides[d];
  return layout;
}

/// Who reads each node.
class Readers {
 public:
  explicit Readers(const Graph& graph) : first_(graph.nodes.size() + 1, 0) {
    for (const GraphNode& node : graph.nodes)
      for (std::uint32_t input : node.inputs) ++first_[input + 1];
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
    readers_.resize(first_.back());
    std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
      for (std::uint32_t input : graph.nodes[i].inputs) readers_[next[input]++] = i;
  }
  std::span<const std::uint32_t> of(std::uint32_t node) const {
    return std::span(readers_).subspan(first_[node], first_[node + 1] - first_[node]);
  }

 private:
  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> readers_;
};

/// Counts the copies that layouts of a value make its readers take.
class Copies {
 public:
  Copies(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), readers_(graph), is_output_(graph.nodes.size(), 0) {
    for (std::uint32_t output : graph.outputs) is_output_[output] = 1;
  }

  /// An output that is not row-major counts as one: whoever reads it later may have to copy it.
  int of(std::uint32_t value, const Layout& layout, int views = most_views) const {
    int behind_views = 0;
    bool copied = is_output_[value] && !layout.is_contiguous();
    for (std::uint32_t i : readers_.of(value)) {
      const GraphNode& reader = graph_.nodes[i];
      if (!reader.op->view) {
        const KernelEntry* entry = backend_.find(*reader.op);
        copied = copied || !entry || !accepts(entry->layouts, layout);
        continue;
      }
      const auto view = reader.op->view(layout, reader.spec, reader.attrs);
      if (!view)
        copied = true;
      else if (views > 0)
        behind_views += of(i, *view, views - 1);
    }
    return behind_views + (copied ? 1 : 0);
  }

 private:
  static constexpr int most_views = 8;  // that are looked through, one behind the other

  const Graph& graph_;
  const Backend& backend_;
  Readers readers_;
  std::vector<char> is_output_;
};

}  // namespace

bool accepts(InputLayouts layouts, const Layout& layout) {
  switch (layouts) {
    case InputLayouts::contiguous: return layout.is_contiguous();
    case InputLayouts::strided: return true;
    case InputLayouts::matrix: return is_matrix(layout);
  }
  return false;
}

std::unordered_map<std::uint32_t, Layout> row_orders(const Graph& graph, const Backend& backend) {
  std::unordered_map<std::uint32_t, Layout> chosen;
  std::optional<Copies> copies;
  for (const GraphNode& node : graph.nodes) {
    if (!node.op || node.op->name != "permute" || !keeps_rows(node)) continue;
    const std::uint32_t value = node.inputs[0];
    const GraphNode& source = graph.nodes[value];
    const KernelEntry* entry = source.op ? backend.find(*source.op) : nullptr;
    if (!entry || !entry->any_row_order || chosen.contains(value)) continue;
    if (!copies) copies.emplace(graph, backend);
    const Layout permuted = row_major_behind(node, source.spec.shape);
    if (copies->of(value, permuted) < copies->of(value, Layout::contiguous(source.spec.shape)))
      chosen.emplace(value, permuted);
  }
  return chosen;
}

}  // namespace wick
