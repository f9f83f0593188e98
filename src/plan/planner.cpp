#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "graph/record.h"
#include "ops/copy.h"
#include "plan/layouts.h"
#include "plan/memory.h"
#include "plan/plan.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};
/// The largest leaf that is copied from the host's memory at each evaluation.
constexpr std::uint64_t most_host_bytes = std::uint64_t{64} << 20;

/// What a value lies in: a leaf, or a buffer that a step fills.
struct Root {
  bool is_leaf = false;
  std::uint32_t id = 0;
  friend bool operator==(const Root&, const Root&) = default;
};

struct Place {
  Root root;
  Layout layout;
};

struct Buffer {
  DType dtype = DType::f32;
  std::uint64_t bytes = 0;
  std::uint32_t first_step = 0;
  std::uint32_t last_step = 0;
  bool is_result = false;
  std::uint32_t result = none;  // number among the results
  std::uint32_t merged = none;  // lies in this other buffer
  std::uint32_t leaf = none;    // lies in this donated leaf
  std::uint64_t offset = 0;     // in the arena
};

struct DraftStep {
  const KernelEntry* entry = nullptr;
  SmallVector<std::uint32_t, 3> inputs;   // positions in `places_`
  SmallVector<std::uint32_t, 3> outputs;  // buffers
};

class Planner {
 public:
  Planner(Graph graph, const Backend& backend) : backend_(backend), plan_(std::make_shared<Plan>()) {
    plan_->graph = std::move(graph);
  }

  std::shared_ptr<const Plan> make() {
    place_host_leaves();
    place_nodes();
    copy_host_outputs();
    mark_results();
    reuse_dying_inputs();
    assign_memory();
    address_steps();
    plan_->program = backend_.make_program(plan_->steps, base_uses());
    return plan_;
  }

 private:
  Graph& graph() { return plan_->graph; }

  /// Leaves in the host's memory, when the plan runs elsewhere: they get places in the arena that stay
  /// theirs.
  void place_host_leaves() {
    host_leaf_.assign(graph().leaves.size(), none);
    for (const GraphNode& node : graph().nodes) {
      if (node.op || !graph().leaves[node.leaf].on_host) continue;
      const Extent extent = extent_of(graph().leaves[node.leaf].layout, size_of(node.spec.dtype));
      const HostLeaf leaf{node.leaf, extent.first, extent.bytes, 0};
      if (leaf.bytes > most_host_bytes)
        throw DeviceError(
            fmt::format("a tensor {}{} in the host's memory is used on {}: {} bytes would be copied at each "
                        "evaluation, the "
                        "most is {}; move it once with to(device)",
                        name_of(node.spec.dtype), node.spec.shape.str(), graph().device.str(), leaf.bytes,
                        most_host_bytes));
      host_leaf_[node.leaf] = static_cast<std::uint32_t>(plan_->host_leaves.size());
      plan_->host_leaves.push_back(leaf);
    }
  }

  /// An output must not lie in the arena.
  void copy_host_outputs() {
    for (std::uint32_t o : graph().outputs) {
      const Root root = places_[o].root;
      output_places_.push_back(root.is_leaf && host_leaf_[root.id] != none ? copied(o, o) : o);
    }
  }

  void place_nodes() {
    const std::size_t count = graph().nodes.size();
    row_orders_ = row_orders(graph(), backend_);
    places_.resize(count);
    contiguous_.assign(count, none);
    for (std::uint32_t i = 0; i < count; ++i) {
      const GraphNode& node = graph().nodes[i];
      if (node.op == &pick_op()) {
        places_[i] = {{false, result_buffer(i)}, Layout::contiguous(node.spec.shape)};
      } else if (!node.op) {
        places_[i] = {{true, node.leaf}, graph().leaves[node.leaf].layout};
      } else if (node.op->view) {
        place_view(i);
      } else {
        place_step(i);
      }
    }
  }

  /// The buffer of a `pick`: results behind the first have those behind the first one's.
  std::uint32_t result_buffer(std::uint32_t pick) {
    const GraphNode& node = graph().nodes[pick];
    return places_[node.inputs[0]].root.id + static_cast<std::uint32_t>(node.attrs.as<PickAttrs>().result);
  }

  void place_view(std::uint32_t i) {
    const GraphNode& node = graph().nodes[i];
    std::uint32_t input = node.inputs[0];
    auto layout = node.op->view(places_[input].layout, node.spec, node.attrs);
    if (!layout) {
      input = contiguous(input, i);
      layout =
          graph().nodes[i].op->view(places_[input].layout, graph().nodes[i].spec, graph().nodes[i].attrs);
    }
    if (!layout)
      throw InternalError(fmt::format("{} cannot view a contiguous tensor", graph().nodes[i].op->name));
    places_[i] = {places_[input].root, *layout};
  }

  /// The place of a row-major copy of value `i` (made once), or `i` itself when it is row-major.
  std::uint32_t contiguous(std::uint32_t i, std::uint32_t user) {
    if (places_[i].layout.is_contiguous()) return i;
    if (contiguous_[i] == none) contiguous_[i] = copied(i, user);
    return contiguous_[i];
  }

  /// The place of a new row-major copy of value `i`.
  std::uint32_t copied(std::uint32_t i, std::uint32_t user) {
    const Spec spec{places_[i].layout.shape, dtype_of_place(i)};
    const std::uint32_t place = static_cast<std::uint32_t>(places_.size());
    add_step(copy_op(), {}, SmallVector<std::uint32_t, 3>{i}, {spec.dtype, Layout::contiguous(spec.shape)},
             user);
    plan_->steps.back().copied = i;
    places_.push_back(
        {{false, static_cast<std::uint32_t>(buffers_.size() - 1)}, Layout::contiguous(spec.shape)});
    extra_dtypes_.push_back(spec.dtype);
    contiguous_.push_back(place);
    return place;
  }

  DType dtype_of_place(std::uint32_t place) {
    const std::size_t count = graph().nodes.size();
    return place < count ? graph().nodes[place].spec.dtype : extra_dtypes_[place - count];
  }

  void place_step(std::uint32_t i) {
    const GraphNode& node = graph().nodes[i];
    const KernelEntry* entry = backend_.find(*node.op);
    SmallVector<std::uint32_t, 3> inputs;
    for (std::uint32_t input : node.inputs)
      inputs.push_back(entry && accepts(entry->layouts, places_[input].layout) ? input
                                                                               : contiguous(input, i));
    const auto first_buffer = static_cast<std::uint32_t>(buffers_.size());
    const auto chosen = row_orders_.find(i);
    const Layout layout = chosen == row_orders_.end() ? Layout::contiguous(node.spec.shape) : chosen->second;
    add_step(*node.op, node.attrs, inputs, {node.spec.dtype, layout}, i, node.group.get());
    places_[i] = {{false, first_buffer}, layout};
  }

  void add_step(const Op& op, const Attrs& attrs, SmallVector<std::uint32_t, 3> inputs, const Slot& output,
                std::uint32_t node, const ElementwiseGroup* group = nullptr) {
    std::vector<Slot> slots;
    for (std::uint32_t input : inputs) {
      const Root root = places_[input].root;
      const bool is_weight = root.is_leaf && graph().leaves[root.id].is_weight;
      slots.push_back({dtype_of_place(input), places_[input].layout, is_weight, input});
    }
    const KernelRequest request{op, attrs, slots, output, group, packing_budget_};
    const KernelEntry* entry = backend_.find(op);
    if (!entry || (entry->supports && !entry->supports(request))) {
      const GraphNode& user = graph().nodes[node];
      throw DTypeError(
          fmt::format("the {} backend has no kernel for {}", backend_.name(),
                      describe_call(*user.op, graph().input_specs(user), user.attrs, user.where)));
    }
    Step step;
    step.kernel = entry->prepare(request);
    step.node = node;
    note_packed(step, inputs);
    const auto number = static_cast<std::uint32_t>(plan_->steps.size());
    plan_->steps.push_back(std::move(step));
    for (std::uint32_t input : inputs)
      if (!places_[input].root.is_leaf) buffers_[places_[input].root.id].last_step = number;
    drafts_.push_back({entry, std::move(inputs), {}});
    if (&op != graph().nodes[node].op) return add_output({output.shape(), output.dtype});  // a copy
    for (const Spec& result : graph().result_specs(graph().nodes[node])) add_output(result);
  }

  /// A buffer for a result of the last step.
  void add_output(const Spec& spec) {
    Buffer buffer;
    buffer.dtype = spec.dtype;
    buffer.bytes = static_cast<std::uint64_t>(spec.shape.elements()) * size_of(spec.dtype);
    buffer.first_step = buffer.last_step = static_cast<std::uint32_t>(drafts_.size() - 1);
    drafts_.back().outputs.push_back(static_cast<std::uint32_t>(buffers_.size()));
    buffers_.push_back(buffer);
  }

  /// A weight that several steps take in one format is packed once.
  void note_packed(Step& step, const SmallVector<std::uint32_t, 3>& inputs) {
    for (const Packing& packing : step.kernel->packings()) {
      const Place& place = places_[inputs[packing.input]];
      step.packed.push_back({packing.input, place.root.id, {}});
      if (!packed_.emplace(place.root.id, place.layout.offset, packing.format).second) continue;
      plan_->packed_bytes += packing.bytes;
      packing_budget_ -= std::min<std::uint64_t>(packing_budget_, packing.bytes);
    }
  }

  void mark_results() {
    leaf_is_output_.assign(graph().leaves.size(), 0);
    for (std::uint32_t o : output_places_) {
      const Root root = places_[o].root;
      if (root.is_leaf)
        leaf_is_output_[root.id] = 1;
      else
        buffers_[root.id].is_result = true;
    }
    leaf_last_step_.assign(graph().leaves.size(), 0);
    for (std::uint32_t s = 0; s < drafts_.size(); ++s)
      for (std::uint32_t input : drafts_[s].inputs)
        if (places_[input].root.is_leaf) leaf_last_step_[places_[input].root.id] = s;
  }

  std::uint32_t representative(std::uint32_t buffer) const {
    while (buffers_[buffer].merged != none) buffer = buffers_[buffer].merged;
    return buffer;
  }

  /// Whether input `k` of step `s` is read for the last time there, wholly and by nobody else, so that the
  /// result in `target` may overwrite it.
  bool can_overwrite(std::uint32_t s, std::size_t k, const Buffer& target) {
    const DraftStep& draft = drafts_[s];
    const Place& place = places_[draft.inputs[k]];
    const auto bytes =
        static_cast<std::uint64_t>(place.layout.shape.elements()) * size_of(dtype_of_place(draft.inputs[k]));
    if (bytes != target.bytes || bytes == 0 || !place.layout.is_contiguous() || place.layout.offset != 0)
      return false;
    if (dtype_of_place(draft.inputs[k]) != target.dtype) return false;
    for (std::size_t j = 0; j < draft.inputs.size(); ++j) {
      const Place& other = places_[draft.inputs[j]];
      if (j != k && share_memory(other.root, place.root) &&
          !(other.layout.is_contiguous() && other.layout.offset == 0 &&
            other.layout.shape == place.layout.shape))
        return false;
    }
    if (place.root.is_leaf) {
      const GraphLeaf& leaf = graph().leaves[place.root.id];
      return leaf.donated && !leaf_is_output_[place.root.id] && leaf_last_step_[place.root.id] == s;
    }
    const Buffer& buffer = buffers_[place.root.id];
    return !buffer.is_result && buffer.last_step == s && buffer.bytes == bytes;
  }

  void reuse_dying_inputs() {
    for (std::uint32_t s = 0; s < drafts_.size(); ++s) {
      const DraftStep& draft = drafts_[s];
      if (!draft.entry->in_place) continue;
      std::vector<char> taken(draft.inputs.size(), 0);
      for (std::size_t r = 0; r < draft.outputs.size(); ++r) {
        const std::uint32_t output = draft.outputs[r];
        const std::vector<std::uint32_t> order = donors_of(s, r);
        const auto k = std::find_if(order.begin(), order.end(), [&](std::uint32_t i) {
          return !taken[i] && can_overwrite(s, i, buffers_[output]);
        });
        if (k == order.end()) continue;
        const Root root = places_[draft.inputs[*k]].root;
        for (std::size_t j = 0; j < draft.inputs.size(); ++j)
          if (share_memory(places_[draft.inputs[j]].root, root)) taken[j] = 1;
        take_place_of(root, buffers_[output]);
      }
    }
  }

  /// The inputs of step `s` in the order in which result `r` should take their memory. In a group, what the
  /// result is made of first: a parameter's update takes the parameter's place, each time that it is
  /// evaluated. What an op updates takes that input's place, and nothing else takes any.
  std::vector<std::uint32_t> donors_of(std::uint32_t s, std::size_t r) {
    const DraftStep& draft = drafts_[s];
    const ElementwiseGroup* group = graph().nodes[plan_->steps[s].node].group.get();
    if (group && !plan_->steps[s].is_copy()) {
      const std::size_t member = r / group->results.size();
      std::vector<std::uint32_t> nearest = group->nearest_inputs(group->results[r % group->results.size()]);
      for (std::uint32_t& input : nearest) input = static_cast<std::uint32_t>(group->input_of(member, input));
      return nearest;
    }
    const Op& op = *graph().nodes[plan_->steps[s].node].op;
    if (!op.updates.empty() && !plan_->steps[s].is_copy())
      return r == 0 ? std::vector<std::uint32_t>{} : std::vector{op.updates[r - 1]};
    std::vector<std::uint32_t> all(draft.inputs.size());
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  bool share_memory(const Root& a, const Root& b) const {
    return a == b || (!a.is_leaf && !b.is_leaf && representative(a.id) == representative(b.id));
  }

  void take_place_of(const Root& root, Buffer& target) {
    if (root.is_leaf) {
      target.leaf = root.id;
      return;
    }
    const std::uint32_t donor = representative(root.id);
    target.merged = donor;
    buffers_[donor].last_step = std::max(buffers_[donor].last_step, target.last_step);
    if (target.is_result) buffers_[donor].is_result = true;
  }

  void assign_memory() {
    ArenaPlanner arena;
    for (HostLeaf& leaf : plan_->host_leaves) leaf.offset = arena.allocate(leaf.bytes);
    std::vector<std::vector<std::uint32_t>> dying(drafts_.size());
    for (std::uint32_t b = 0; b < buffers_.size(); ++b) {
      Buffer& buffer = buffers_[b];
      if (buffer.merged != none || buffer.leaf != none) continue;
      if (buffer.is_result) {
        buffer.result = static_cast<std::uint32_t>(plan_->result_bytes.size());
        plan_->result_bytes.push_back(buffer.bytes);
      } else {
        dying[buffer.last_step].push_back(b);
      }
    }
    for (std::uint32_t s = 0; s < drafts_.size(); ++s) {
      for (std::uint32_t b : drafts_[s].outputs) {
        Buffer& output = buffers_[b];
        if (output.merged == none && output.leaf == none && !output.is_result)
          output.offset = arena.allocate(output.bytes);
      }
      place_scratch(plan_->steps[s], arena);
      for (std::uint32_t b : dying[s]) arena.release(buffers_[b].offset, buffers_[b].bytes);
    }
    plan_->arena_bytes = arena.size();
  }

  /// Memory of this step alone.
  static void place_scratch(Step& step, ArenaPlanner& arena) {
    const auto packings = step.kernel->packings();
    const std::uint64_t scratch = step.kernel->scratch_bytes();
    if (scratch > 0) step.scratch = {0, arena.allocate(scratch)};
    for (std::size_t i = 0; i < packings.size(); ++i)
      step.packed[i].place = {0, arena.allocate(packings[i].bytes)};
    if (scratch > 0) arena.release(step.scratch.offset, scratch);
    for (std::size_t i = 0; i < packings.size(); ++i)
      arena.release(step.packed[i].place.offset, packings[i].bytes);
  }

  Address address_of(const Place& place, DType dtype) const {
    const auto offset = static_cast<std::uint64_t>(place.layout.offset) * size_of(dtype);
    if (place.root.is_leaf && host_leaf_[place.root.id] != none) {
      const HostLeaf& leaf = plan_->host_leaves[host_leaf_[place.root.id]];
      return {0, leaf.offset + offset - static_cast<std::uint64_t>(leaf.first)};
    }
    if (place.root.is_leaf) return {plan_->leaf_base(place.root.id), offset};
    const Buffer& buffer = buffers_[representative(place.root.id)];
    if (buffer.leaf != none) return {plan_->leaf_base(buffer.leaf), offset};
    if (buffer.is_result) return {plan_->result_base(buffer.result), offset};
    return {0, buffer.offset + offset};
  }

  void address_steps() {
    for (std::uint32_t s = 0; s < drafts_.size(); ++s) {
      Step& step = plan_->steps[s];
      for (std::uint32_t input : drafts_[s].inputs)
        step.inputs.push_back(address_of(places_[input], dtype_of_place(input)));
      const auto& outputs = drafts_[s].outputs;
      step.output = address_of({{false, outputs[0]}, {}}, DType::u8);
      for (std::size_t r = 1; r < outputs.size(); ++r)
        step.more_outputs.push_back(address_of({{false, outputs[r]}, {}}, DType::u8));
    }
    for (std::uint32_t o : output_places_)
      plan_->outputs.push_back({address_of({places_[o].root, {}}, DType::u8).base, places_[o].layout});
  }

  /// A weight stays where it is, and a donated leaf has two owners at once.
  std::vector<BaseUse> base_uses() const {
    std::vector<BaseUse> uses(1);  // the arena
    uses.resize(1 + plan_->graph.leaves.size());
    for (const GraphNode& node : plan_->graph.nodes) {
      if (node.op) continue;
      const GraphLeaf& leaf = plan_->graph.leaves[node.leaf];
      BaseUse& use = uses[plan_->leaf_base(node.leaf)];
      use.bytes = static_cast<std::uint64_t>(node.spec.shape.elements()) * size_of(node.spec.dtype);
      use.movable = !leaf.donated && !leaf.is_weight && !leaf.on_host && leaf.layout.is_contiguous();
    }
    for (std::uint64_t bytes : plan_->result_bytes) uses.push_back({bytes, true, true});
    return uses;
  }

  const Backend& backend_;
  std::shared_ptr<Plan> plan_;
  std::unordered_map<std::uint32_t, Layout> row_orders_;  // of nodes that are not row-major
  std::vector<Place> places_;                             // of nodes, then of inserted copies
  std::vector<std::uint32_t> contiguous_;                 // a place -> the place of its row-major copy
  std::vector<DType> extra_dtypes_;                       // of the inserted copies
  std::vector<std::uint32_t> host_leaf_;                  // a leaf -> its number among the plan's host leaves
  std::vector<std::uint32_t> output_places_;
  std::uint64_t packing_budget_ = PackedCopies::limit();
  std::set<std::tuple<std::uint32_t, std::int64_t, std::string>> packed_;  // leaf, offset, format
  std::vector<Buffer> buffers_;
  std::vector<DraftStep> drafts_;
  std::vector<char> leaf_is_output_;
  std::vector<std::uint32_t> leaf_last_step_;
};

}  // namespace

std::shared_ptr<const Plan> make_plan(Graph graph, const Backend& backend) {
  const std::unique_ptr<DeviceScope> device = backend.use_device();
  return Planner(std::move(graph), backend).make();
}

}  // namespace wick
