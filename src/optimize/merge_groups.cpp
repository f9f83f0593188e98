#include "optimize/merge_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>

#include "backend/backend.h"
#include "graph/elementwise_group.h"
#include "optimize/fuse_elementwise.h"

namespace wick {
namespace {

constexpr std::size_t most_instructions = 256;
constexpr std::size_t most_inputs = 12;
constexpr std::size_t most_registers = 24;
/// How many nodes a computation may move: what is computed earlier, or read later, is in memory for longer.
constexpr double most_distance = 32;
/// How many nodes a merge may move to before it.
constexpr std::size_t most_moved = 4;
/// Of the nodes that read one value, how many are looked at.
constexpr std::size_t most_siblings = 8;
constexpr std::uint32_t none = ~std::uint32_t{0};

/// Nodes that are computed together. Values of the program are those of the nodes or lie between them.
struct Unit {
  std::vector<std::uint32_t> nodes;
  std::vector<std::uint32_t> value_of;  // per node
  std::vector<std::uint32_t> inputs;    // nodes, in the order of the program's inputs
  ElementwiseGroup program;
  double rank = 0;  // where in the order of nodes it is computed
  bool is_group = false;
  bool merged_away = false;
};

bool contains(const std::vector<std::uint32_t>& list, std::uint32_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool reads_any(const Unit& reader, const Unit& of) {
  return std::any_of(of.nodes.begin(), of.nodes.end(),
                     [&](std::uint32_t node) { return contains(reader.inputs, node); });
}

/// Writes two programs behind each other, with the inputs and constants that they share once. The first does
/// not read what the second computes.
class Joiner {
 public:
  Joiner(const Graph& graph, const Unit& first, const Unit& second) {
    for (const Unit* unit : {&first, &second}) {
      for (std::uint32_t node : unit->nodes) joined_.nodes.push_back(node);
      for (std::uint32_t input : unit->inputs)
        if (!contains(first.nodes, input) && !contains(second.nodes, input) &&
            !contains(joined_.inputs, input))
          joined_.inputs.push_back(input);
    }
    for (std::uint32_t input : joined_.inputs)
      joined_.program.inputs.push_back(graph.nodes[input].spec.dtype);
    for (const Unit* unit : {&first, &second}) add_constants(*unit);
    for (const Unit* unit : {&first, &second}) add_computed(*unit);
  }
  Unit take() { return std::move(joined_); }

 private:
  std::uint32_t next_value() const {
    return static_cast<std::uint32_t>(joined_.program.inputs.size() + joined_.program.instructions.size());
  }

  void add_constants(const Unit& unit) {
    auto& list = joined_.program.instructions;
    for (std::size_t i = 0; i < unit.program.constants(); ++i) {
      const ElementwiseGroup::Instruction& constant = unit.program.instructions[i];
      const auto same = std::find_if(list.begin(), list.end(), [&](const auto& known) {
        return known.attrs == constant.attrs && known.dtype == constant.dtype;
      });
      const auto at = static_cast<std::size_t>(same - list.begin());
      if (same == list.end()) list.push_back(constant);
      constant_values_.push_back(static_cast<std::uint32_t>(joined_.program.inputs.size() + at));
    }
  }

  void add_computed(const Unit& unit) {
    std::vector<std::uint32_t> number(unit.program.inputs.size() + unit.program.instructions.size());
    for (std::size_t i = 0; i < unit.inputs.size(); ++i) number[i] = value_of_node(unit.inputs[i]);
    const std::size_t constants = unit.program.constants();
    for (std::size_t i = 0; i < unit.program.instructions.size(); ++i) {
      std::uint32_t& value = number[unit.program.inputs.size() + i];
      if (i < constants) {
        value = constant_values_[next_constant_++];
        continue;
      }
      ElementwiseGroup::Instruction instruction = unit.program.instructions[i];
      for (std::uint32_t& operand : instruction.operands) operand = number[operand];
      value = next_value();
      joined_.program.instructions.push_back(std::move(instruction));
    }
    for (std::uint32_t value : unit.value_of) joined_.value_of.push_back(number[value]);
  }

  /// The value of an input: one of the joined unit's, or what the first unit computes.
  std::uint32_t value_of_node(std::uint32_t node) const {
    const auto input = std::find(joined_.inputs.begin(), joined_.inputs.end(), node);
    if (input != joined_.inputs.end()) return static_cast<std::uint32_t>(input - joined_.inputs.begin());
    const auto member = std::find(joined_.nodes.begin(), joined_.nodes.end(), node);
    return joined_.value_of[static_cast<std::size_t>(member - joined_.nodes.begin())];
  }

  Unit joined_;
  std::vector<std::uint32_t> constant_values_;
  std::size_t next_constant_ = 0;
};

/// The most registers that a program with these results holds at once.
std::size_t registers_of(const ElementwiseGroup& program) {
  const std::vector<std::uint32_t> last_use = program.last_uses();
  const std::size_t constants = program.constants();
  std::array<std::size_t, dtype_count> live{};
  std::array<std::size_t, dtype_count> most{};
  std::vector<std::vector<std::uint32_t>> ends(program.instructions.size());
  for (std::uint32_t i = static_cast<std::uint32_t>(constants); i < program.instructions.size(); ++i) {
    const auto value = static_cast<std::uint32_t>(program.inputs.size() + i);
    const auto type = static_cast<std::size_t>(program.instructions[i].dtype);
    most[type] = std::max(most[type], ++live[type]);
    if (!contains(program.results, value)) ends[last_use[value]].push_back(value);
    for (std::uint32_t ended : ends[i]) --live[static_cast<std::size_t>(program.dtype_of(ended))];
  }
  return std::accumulate(most.begin(), most.end(), program.inputs.size() + constants);
}

class Merger {
 public:
  Merger(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        unit_of_(graph.nodes.size(), none),
        rank_of_(graph.nodes.size()),
        is_output_(graph.nodes.size(), 0),
        readers_(graph.nodes.size()) {
    std::iota(rank_of_.begin(), rank_of_.end(), 0.0);
    for (std::uint32_t output : graph.outputs) is_output_[output] = 1;
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
      for (std::uint32_t input : graph.nodes[i].inputs) readers_[input].push_back(i);
      if (const auto program = program_of(graph, i, context)) {
        unit_of_[i] = static_cast<std::uint32_t>(units_.size());
        const auto last =
            static_cast<std::uint32_t>(program->inputs.size() + program->instructions.size() - 1);
        const auto& inputs = graph.nodes[i].inputs;
        units_.push_back({{i},
                          {last},
                          {inputs.begin(), inputs.end()},
                          *program,
                          static_cast<double>(i),
                          graph.nodes[i].group != nullptr,
                          false});
      }
    }
  }

  /// Those of which one reads the other come first: what lies between them need not be written. Else a value
  /// of a gradient could go with a group of the forward pass that happens to read the same.
  Graph run() {
    bool changed = false;
    for (bool siblings : {false, true})
      for (std::uint32_t u = 0; u < units_.size(); ++u)
        while (!units_[u].merged_away && merge_one(u, siblings)) changed = true;
    return changed ? rewritten() : graph_;
  }

 private:
  /// Data are there before everything else, wherever the walk met them.
  double rank(std::uint32_t node) const {
    if (graph_.nodes[node].inputs.empty()) return -1;
    return unit_of_[node] == none ? rank_of_[node] : units_[unit_of_[node]].rank;
  }
  const Shape& shape(const Unit& unit) const { return graph_.nodes[unit.nodes[0]].spec.shape; }

  /// Merges unit `u` with one that computes what it reads, or with `siblings` with one that reads it too.
  bool merge_one(std::uint32_t u, bool siblings) {
    const std::vector<std::uint32_t> inputs = units_[u].inputs;
    for (std::uint32_t input : inputs) {
      if (!(graph_.nodes[input].spec.shape == shape(units_[u]))) continue;
      if (unit_of_[input] != none && try_merge(u, unit_of_[input])) return true;
      if (!siblings) continue;
      std::size_t tried = 0;
      for (std::uint32_t reader : readers_[input])
        if (unit_of_[reader] != none && unit_of_[reader] != u && tried++ < most_siblings &&
            try_merge(u, unit_of_[reader]))
          return true;
    }
    return false;
  }

  bool try_merge(std::uint32_t u, std::uint32_t v) {
    Unit& a = units_[u];
    Unit& b = units_[v];
    if (!(a.is_group || b.is_group) || !(shape(a) == shape(b)) || !is_near(a, b) ||
        a.program.instructions.size() + b.program.instructions.size() > most_instructions)
      return false;
    const bool a_reads_b = reads_any(a, b);
    const bool b_reads_a = reads_any(b, a);
    if (a_reads_b && b_reads_a) return false;
    Unit joined = a_reads_b ? Joiner(graph_, b, a).take() : Joiner(graph_, a, b).take();
    set_results(joined);
    if (joined.inputs.size() > most_inputs ||
        joined.program.results.size() > context_.backend.most_group_results() ||
        registers_of(joined.program) > most_registers || reads_unrounded(joined))
      return false;
    const std::optional<Place> place = place_between(joined, a, b);
    if (!place) return false;
    move(*place);
    joined.rank = place->at;
    joined.is_group = true;
    for (std::uint32_t node : b.nodes) unit_of_[node] = u;
    b.merged_away = true;
    a = std::move(joined);
    return true;
  }

  bool is_read_outside(std::uint32_t node, const Unit& unit) const {
    return std::any_of(readers_[node].begin(), readers_[node].end(),
                       [&](std::uint32_t reader) { return !contains(unit.nodes, reader); });
  }

  void set_results(Unit& unit) const {
    unit.program.results.clear();
    for (std::size_t k = 0; k < unit.nodes.size(); ++k)
      if (is_output_[unit.nodes[k]] || is_read_outside(unit.nodes[k], unit))
        unit.program.results.push_back(unit.value_of[k]);
  }

  /// Whether an instruction reads a 16-bit value that is rounded where it is stored, or by a cast: inside a
  /// group it would not be.
  static bool reads_unrounded(const Unit& unit) {
    const ElementwiseGroup& program = unit.program;
    const auto is_computed_narrow = [&](std::uint32_t value) {
      return value >= program.inputs.size() && size_of(program.dtype_of(value)) == 2;
    };
    return std::any_of(
        program.instructions.begin(), program.instructions.end(),
        [&](const ElementwiseGroup::Instruction& part) {
          return std::any_of(part.operands.begin(), part.operands.end(), [&](std::uint32_t value) {
            if (!is_computed_narrow(value)) return false;
            const Op* made_by = program.instructions[value - program.inputs.size()].op;
            return contains(program.results, value) || part.op->name == "cast" || made_by->name == "cast";
          });
        });
  }

  double bytes(std::uint32_t node) const {
    const Spec& spec = graph_.nodes[node].spec;
    return static_cast<double>(spec.shape.elements()) * static_cast<double>(size_of(spec.dtype));
  }

  /// Whether computing both in one place keeps nothing in memory for long: they are near, or what the later
  /// one reads could go sooner, and is no less than what it makes.
  bool is_near(const Unit& a, const Unit& b) const {
    if (std::abs(a.rank - b.rank) <= most_distance) return true;
    const auto& [early, late] = a.rank < b.rank ? std::tie(a, b) : std::tie(b, a);
    double held = 0;
    for (std::uint32_t node : late.nodes)
      if (!is_output_[node] && is_read_outside(node, late)) held += bytes(node);
    for (std::uint32_t input : late.inputs)
      if (!graph_.nodes[input].inputs.empty() && is_last_reader(late, input, early.rank))
        held -= bytes(input);
    return held <= 0;
  }

  /// Whether nobody but `unit` reads a value behind a place.
  bool is_last_reader(const Unit& unit, std::uint32_t value, double place) const {
    return !is_output_[value] && readers_[value].size() <= most_siblings &&
           std::all_of(readers_[value].begin(), readers_[value].end(), [&](std::uint32_t reader) {
             return contains(unit.nodes, reader) || rank(reader) <= place;
           });
  }

  /// Where a unit can be computed: behind all inputs, before all readers, near to where the earlier of two
  /// was. Inputs that are computed behind the readers, though not from them, are computed sooner.
  struct Place {
    double at;
    std::vector<std::uint32_t> sooner;  ///< each behind its inputs
    double low;                         ///< behind which they have to be
    std::size_t visited = 0;            ///< of them
  };

  std::optional<Place> place_between(const Unit& joined, const Unit& a, const Unit& b) const {
    double high = std::numeric_limits<double>::infinity();
    for (std::uint32_t node : joined.nodes)
      for (std::uint32_t reader : readers_[node])
        if (!contains(joined.nodes, reader)) high = std::min(high, rank(reader));
    Place place{0, {}, -1};
    if (!find_late(joined.inputs, joined, high, place)) return std::nullopt;
    const auto [early, late] = std::minmax(a.rank, b.rank);
    place.at = early;
    if (!place.sooner.empty())
      place.at = place.low + (high - place.low) / 2;
    else if (!(place.low < place.at))
      place.at = high < late ? place.low + (high - place.low) / 2 : late;
    const bool fits = place.low < place.at && place.at < high && place.at - early <= most_distance;
    return fits ? std::optional(std::move(place)) : std::nullopt;
  }

  /// Lists which of some values, and of what they are computed from, are computed at `high` or behind it.
  /// False where that is too much, or depends on what the unit computes.
  bool find_late(const std::vector<std::uint32_t>& values, const Unit& unit, double high,
                 Place& place) const {
    for (std::uint32_t value : values) {
      if (contains(unit.nodes, value)) return false;
      if (rank(value) < high) {
        place.low = std::max(place.low, rank(value));
        continue;
      }
      if (contains(place.sooner, value)) continue;
      const auto& inputs = graph_.nodes[value].inputs;
      if (unit_of_[value] != none || ++place.visited > most_moved ||
          !find_late({inputs.begin(), inputs.end()}, unit, high, place))
        return false;
      place.sooner.push_back(value);  // behind its inputs
    }
    return true;
  }

  void move(const Place& place) {
    const double step = (place.at - place.low) / static_cast<double>(place.sooner.size() + 1);
    double at = place.low;
    for (std::uint32_t node : place.sooner) rank_of_[node] = at += step;
  }

  /// All nodes, and units in the place of theirs, in the order of ranks.
  Graph rewritten() const {
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (unit_of_[i] == none || units_[unit_of_[i]].nodes[0] == i) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return rank(a) < rank(b); });
    Rewriter out(graph_);
    for (std::uint32_t i : order) {
      if (unit_of_[i] == none || units_[unit_of_[i]].nodes.size() == 1)
        out.map(i, out.append(out.mapped_copy(i)));
      else
        append_unit(out, units_[unit_of_[i]]);
    }
    return out.finish();
  }

  void append_unit(Rewriter& out, const Unit& unit) const {
    GraphNode group;
    group.op = &elementwise_group_op();
    for (std::uint32_t input : unit.inputs) group.inputs.push_back(out[input]);
    group.group = std::make_shared<const ElementwiseGroup>(unit.program);
    std::uint32_t group_position = none;
    for (std::size_t k = 0; k < unit.program.results.size(); ++k) {
      const auto value = std::find(unit.value_of.begin(), unit.value_of.end(), unit.program.results[k]);
      const std::uint32_t node = unit.nodes[static_cast<std::size_t>(value - unit.value_of.begin())];
      if (k == 0) {
        group.spec = graph_.nodes[node].spec;
        group.where = graph_.nodes[node].where;
        group_position = out.append(group);
        out.map(node, group_position);
      } else {
        out.map(node, out.append(pick(group_position, k, graph_.nodes[node])));
      }
    }
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<Unit> units_;
  std::vector<std::uint32_t> unit_of_;
  std::vector<double> rank_of_;  // of nodes outside units
  std::vector<char> is_output_;
  std::vector<std::vector<std::uint32_t>> readers_;
};

}  // namespace

Graph merge_groups(const Graph& graph, const PassContext& context) {
  if (context.backend.most_group_results() < 2) return graph;
  return Merger(graph, context).run();
}

}  // namespace wick
