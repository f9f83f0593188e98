#include <algorithm>

#include "core/pointer_map.h"
#include "grad/pull_back.h"
#include "graph/record.h"
#include "graph/scope_names.h"
#include "graph/walk.h"
#include "wick/error.h"
#include "wick/grad.h"

namespace wick {
namespace {

struct CheckpointAttrs {
  std::int64_t inputs;  ///< that were given; what the segment took besides follows them
};

Spec spec_of_first(InputSpecs inputs, const Attrs&) { return inputs[0]; }

/// Inputs are x and the gradient that the segment's own gradient waits for. The dependence is the purpose:
/// what is computed from a barrier's output is not what the forward computed, so that it is not shared with
/// it, and it cannot be computed before the gradient is there.
const Op barrier_op{
    .name = "checkpoint_barrier",
    .infer = spec_of_first,
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      return {args.grad, Tensor{}};
    },
    .view = [](const Layout& input, const Spec&, const Attrs&) -> std::optional<Layout> { return input; },
};

/// Inputs are the segment's result, the inputs that it was given, and the data that it took besides.
struct Segment {
  Segment(Inputs parts, const Attrs& attrs)
      : result(parts[0]),
        inputs(parts.subspan(1, static_cast<std::size_t>(attrs.as<CheckpointAttrs>().inputs))) {}
  const Tensor& result;
  Inputs inputs;
};

/// Records the segment anew, with `replacements` in place of its inputs. What does not depend on them is not
/// repeated.
Tensor repeat(const Segment& segment, Inputs replacements) {
  const Walk body = walk(std::span(&segment.result, 1), WalkThrough::everything, segment.inputs);
  PointerMap replacement;
  for (std::size_t i = 0; i < replacements.size(); ++i)
    replacement.set(segment.inputs[i].node(), static_cast<std::uint32_t>(i));
  std::vector<Tensor> copies(body.order.size());
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const Node* node = body.order[i];
    if (const std::uint32_t r = replacement.find(node); r != PointerMap::absent) {
      copies[i] = replacements[r];
      continue;
    }
    std::vector<Tensor> inputs;
    bool changed = false;
    for (std::uint32_t e : body.inputs(i)) {
      inputs.push_back(copies[e]);
      changed = changed || copies[e].node() != body.order[e];
    }
    copies[i] =
        changed ? record(*node->op(), inputs, node->attrs(), gradient_of(node->where())) : Node::handle(node);
  }
  return copies[body.roots[0]];
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Segment segment(args.inputs, args.attrs);
  const OwnLocationsScope own;  // of the ops in the segment, not of the call that made it one
  const SourceLocation where = gradient_of(args.output.node()->where());
  std::vector<Tensor> sources;  // what the repeated segment is computed from, in the order of the inputs
  for (const Tensor& input : segment.inputs)
    sources.push_back(record(barrier_op, {input, args.grad}, {}, where));
  const Tensor again = repeat(segment, sources);
  for (std::size_t i = 1 + sources.size(); i < args.inputs.size(); ++i) sources.push_back(args.inputs[i]);
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (args.needed[i + 1]) wanted.push_back(sources[i]);
  const std::vector<Tensor> found = pull_back({again, wanted, {.stop_at_targets = true}}, args.grad);
  std::vector<Tensor> gradients(args.inputs.size());
  for (std::size_t i = 0, w = 0; i < sources.size(); ++i)
    if (args.needed[i + 1]) gradients[i + 1] = found[w++];
  return gradients;
}

/// The identity: it has a place in the history only, for its gradient.
const Op checkpoint_op{
    .name = "checkpoint",
    .infer = spec_of_first,
    .decompose = [](Inputs inputs, const Attrs&) -> Tensor { return inputs[0]; },
    .vjp = vjp,
};

bool holds(const std::vector<Tensor>& list, const Node* node) {
  return std::any_of(list.begin(), list.end(), [&](const Tensor& t) { return t.node() == node; });
}

}  // namespace

Tensor checkpoint(const std::function<Tensor(std::span<const Tensor>)>& f, std::span<const Tensor> inputs,
                  SourceLocation where) {
  std::vector<Tensor> given;
  for (const Tensor& input : inputs) {
    if (!input.defined()) throw ArgumentError("checkpoint: an empty tensor was given");
    if (!holds(given, input.node())) given.push_back(input);
  }
  std::vector<Tensor> parts{f(inputs)};
  if (!parts[0].defined()) throw ArgumentError("checkpoint: the function returned an empty tensor");
  parts.insert(parts.end(), given.begin(), given.end());
  const Walk body = walk(std::span(parts.data(), 1), WalkThrough::everything, given);
  for (std::size_t i = 0; i < body.order.size(); ++i) {
    const Node* node = body.order[i];
    const bool is_data = body.inputs(i).empty() && (!node->op() || node->input_count() > 0);
    if (is_data && is_floating(node->dtype()) && !holds(given, node)) parts.push_back(Node::handle(node));
  }
  return record(checkpoint_op, parts, CheckpointAttrs{static_cast<std::int64_t>(given.size())}, where);
}

Tensor checkpoint(const std::function<Tensor(std::span<const Tensor>)>& f, const std::vector<Tensor>& inputs,
                  SourceLocation where) {
  return checkpoint(f, std::span<const Tensor>(inputs), where);
}

}  // namespace wick
