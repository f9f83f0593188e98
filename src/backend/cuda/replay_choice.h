#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace wick::cuda {

/// The bases of a plan's addresses that a graph finds elsewhere each time: `bytes[b]` of base b are moved to
/// or from a fixed place. 0: the graph is of that base's address alone.
struct MovedBases {
  std::vector<std::uint64_t> bytes;
  std::uint32_t first_result = 0;  ///< bases from here on are written, those before are read
};

/// Decides which of a plan's few graphs runs at some addresses, and what each moves: nothing, while one graph
/// for each set of addresses will do; then the small values whose addresses have changed, until they stay.
class ReplayChoice {
 public:
  static constexpr std::size_t most_graphs = 8;
  /// Launches between the same addresses after which a graph that moves values is given up for one of them.
  static constexpr unsigned int alike_enough = 16;

  /// `movable`: by base, the bytes that a graph may move, or 0.
  ReplayChoice(std::vector<std::uint64_t> movable, std::uint32_t first_result)
      : movable_(std::move(movable)), moved_{std::vector<std::uint64_t>(movable_.size(), 0), first_result} {}

  struct Choice {
    std::size_t graph = 0;
    bool capture = false;  ///< anew, at these addresses
  };
  /// The graph for a run at `bases`; nothing when a new one is needed and all are busy.
  std::optional<Choice> choose(std::span<std::byte* const> bases,
                               const std::function<bool(std::size_t graph)>& busy);
  /// What a graph moves, as it was chosen to be captured.
  const MovedBases& moved(std::size_t graph) const { return graphs_[graph].moved; }
  /// There is no graph `graph` any more: it is of no addresses.
  void forget(std::size_t graph) { graphs_[graph].bases.clear(); }

 private:
  struct Graph {
    std::vector<std::byte*> bases;  // of its last launch
    MovedBases moved;
    std::uint64_t last_use = 0;
    unsigned int alike = 0;  // launches that moved values between the same addresses, one after the other
  };
  static bool serves(const Graph& graph, std::span<std::byte* const> bases);
  bool is_settled(Graph& graph, std::span<std::byte* const> bases) const;
  std::optional<std::size_t> free_place(const std::function<bool(std::size_t)>& busy);
  void note_changes(std::span<std::byte* const> bases);

  const std::vector<std::uint64_t> movable_;
  MovedBases moved_;  // by graphs that will be captured
  std::vector<Graph> graphs_;
  std::uint64_t uses_ = 0;
};

}  // namespace wick::cuda
