#include "backend/cuda/replay_choice.h"

#include <algorithm>

namespace wick::cuda {

bool ReplayChoice::serves(const Graph& graph, std::span<std::byte* const> bases) {
  if (graph.bases.size() != bases.size()) return false;
  for (std::size_t b = 0; b < bases.size(); ++b)
    if (bases[b] != graph.bases[b] && graph.moved.bytes[b] == 0) return false;
  return true;
}

/// Whether a graph that serves `bases` has moved values from and to the same addresses for long.
bool ReplayChoice::is_settled(Graph& graph, std::span<std::byte* const> bases) const {
  const bool moves = std::ranges::any_of(graph.moved.bytes, [](std::uint64_t bytes) { return bytes > 0; });
  graph.alike = moves && std::ranges::equal(bases, graph.bases) ? graph.alike + 1 : 0;
  return graph.alike >= alike_enough;
}

/// A new place, or that of the graph unused for longest.
std::optional<std::size_t> ReplayChoice::free_place(const std::function<bool(std::size_t)>& busy) {
  if (graphs_.size() < most_graphs) {
    graphs_.emplace_back();
    return graphs_.size() - 1;
  }
  std::optional<std::size_t> oldest;
  for (std::size_t g = 0; g < graphs_.size(); ++g)
    if (!busy(g) && (!oldest || graphs_[g].last_use < graphs_[*oldest].last_use)) oldest = g;
  return oldest;
}

void ReplayChoice::note_changes(std::span<std::byte* const> bases) {
  for (const Graph& graph : graphs_)
    for (std::size_t b = 0; b < graph.bases.size(); ++b)
      if (graph.bases[b] != bases[b]) moved_.bytes[b] = movable_[b];
}

std::optional<ReplayChoice::Choice> ReplayChoice::choose(std::span<std::byte* const> bases,
                                                         const std::function<bool(std::size_t)>& busy) {
  std::optional<std::size_t> newest;  // of those that serve
  for (std::size_t g = 0; g < graphs_.size(); ++g)
    if (serves(graphs_[g], bases) && (!newest || graphs_[g].last_use > graphs_[*newest].last_use)) newest = g;
  const bool settled = newest && is_settled(graphs_[*newest], bases);
  Choice choice{newest.value_or(0), !newest};
  if (!newest || settled) {
    const bool full = graphs_.size() == most_graphs;
    const std::optional<std::size_t> place = free_place(busy);
    if (!place && !newest) return std::nullopt;
    if (place) {
      if (full && !settled) note_changes(bases);
      choice = {*place, true};
      graphs_[*place].moved = moved_;
      if (settled) std::ranges::fill(graphs_[*place].moved.bytes, 0);
      graphs_[*place].alike = 0;
    }
  }
  Graph& graph = graphs_[choice.graph];
  graph.bases.assign(bases.begin(), bases.end());
  graph.last_use = ++uses_;
  return choice;
}

}  // namespace wick::cuda
