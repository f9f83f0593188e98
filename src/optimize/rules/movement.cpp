#include "wick/ops/movement.h"

#include <algorithm>

#include "graph/record.h"
#include "ops/attributes.h"
#include "optimize/is_op.h"
#include "optimize/simplify_rules.h"

namespace wick {
namespace {

/// Whether a node is an elementwise op that is no composite: those may demand equal shapes.
bool is_plain_elementwise(const Graph& graph, std::uint32_t node) {
  const Op* op = graph.nodes[node].op;
  return op && op->elementwise && !op->decompose && !graph.nodes[node].inputs.empty();
}

/// x where the root leaves it as it is.
Replacement unless_it_moves(const Pattern& x) {
  return [x](const Found& f) { return f.node(x).spec.shape == f.root().spec.shape ? f[x] : Tensor{}; };
}

/// Which dimension of the input dimension d of the result is.
int source(const PermuteAttrs& attrs, int d) { return attrs.order[static_cast<std::size_t>(d)]; }

Tensor permute_at_once(const Tensor& x, const PermuteAttrs& first, const PermuteAttrs& second) {
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  for (int d = 0; d < x.rank(); ++d) order[static_cast<std::size_t>(d)] = source(first, source(second, d));
  return permute(x, order);
}

Tensor slice_at(const Tensor& x, const SliceAttrs& a) {
  const std::int64_t stop = a.start + a.count * a.step;
  // A walk backwards that includes element 0 stops before it, which only a far negative number says.
  return slice(x, static_cast<int>(a.axis), a.start, stop < 0 ? -x.dim(static_cast<int>(a.axis)) - 1 : stop,
               a.step);
}

Tensor slice_at_once(const Tensor& x, const SliceAttrs& first, const SliceAttrs& second) {
  if (first.axis != second.axis || second.count == 0) return {};
  return slice_at(
      x, {first.axis, first.start + second.start * first.step, first.step * second.step, second.count});
}

/// A slice that lies within one part of a concatenation along the same axis.
Tensor slice_of_part(const Found& f) {
  const auto a = f.root().attrs.as<SliceAttrs>();
  const GraphNode& joined = f.graph().nodes[f.root().inputs[0]];
  if (!is(joined, "concat") || joined.attrs.as<AxisAttrs>().axis != a.axis || a.count == 0) return {};
  const std::int64_t last = a.start + (a.count - 1) * a.step;
  std::int64_t begin = 0;
  for (std::uint32_t part : joined.inputs) {
    const std::int64_t size = f.graph().nodes[part].spec.shape[static_cast<int>(a.axis)];
    if (std::min(a.start, last) >= begin && std::max(a.start, last) < begin + size)
      return slice_at(f.tensor(part), {a.axis, a.start - begin, a.step, a.count});
    begin += size;
  }
  return {};
}

/// A slice that lies within what was padded.
Tensor slice_inside(const Tensor& x, const PadAttrs& padding, const SliceAttrs& a) {
  if (padding.axis != a.axis || a.count == 0) return {};
  const std::int64_t last = a.start + (a.count - 1) * a.step;
  const std::int64_t size = x.dim(static_cast<int>(a.axis));
  if (std::min(a.start, last) < padding.low || std::max(a.start, last) >= padding.low + size) return {};
  return slice_at(x, {a.axis, a.start - padding.low, a.step, a.count});
}

Tensor record_like(const Found& f, const std::vector<Tensor>& inputs) {
  return record(*f.root().op, inputs, f.root().attrs, f.root().where);
}

/// f(broadcast x) as the broadcast of f(x), which is computed on fewer elements.
Tensor compute_before_broadcast(const Found& f) {
  const GraphNode& input = f.graph().nodes[f.root().inputs[0]];
  if (f.root().inputs.size() != 1 || !is(input, "broadcast_to")) return {};
  const std::uint32_t source = input.inputs[0];
  if (f.graph().nodes[source].spec.shape.elements() >= input.spec.shape.elements()) return {};
  return record_like(f, {f.tensor(source)});
}

/// An operand that is broadcast by the op itself need not be before.
Tensor broadcast_by_the_op(const Found& f) {
  std::vector<Tensor> inputs;
  Shape shape;
  bool changes = false;
  for (std::uint32_t i : f.root().inputs) {
    const GraphNode& input = f.graph().nodes[i];
    const bool stretched = is(input, "broadcast_to");
    inputs.push_back(f.tensor(stretched ? input.inputs[0] : i));
    changes = changes || stretched;
    shape = broadcast_shapes(shape, inputs.back().shape());
  }
  if (!changes || !(shape == f.root().spec.shape)) return {};
  return record_like(f, inputs);
}

/// f(reshape x, reshape y, number) as the reshape of f(x, y, number): groups go on across it, and a strided x
/// is not copied first.
Tensor compute_before_reshape(const Found& f) {
  std::vector<Tensor> inputs;
  const Shape* source = nullptr;
  for (std::uint32_t i : f.root().inputs) {
    const GraphNode& input = f.graph().nodes[i];
    if (input.spec.shape.rank() == 0) {
      inputs.push_back(f.tensor(i));
      continue;
    }
    if (!is(input, "reshape") || !(input.spec.shape == f.root().spec.shape)) return {};
    const Shape& shape = f.graph().nodes[input.inputs[0]].spec.shape;
    if (source && !(*source == shape)) return {};
    source = &shape;
    inputs.push_back(f.tensor(input.inputs[0]));
  }
  if (!source || source->rank() == 0) return {};
  return reshape(record_like(f, inputs), f.root().spec.shape);
}

}  // namespace

std::vector<Rule> movement_rules() {
  const Pattern x;
  const Pattern moved = op("permute", x);
  const Pattern cut = op("slice", x);
  const Pattern padded = op("pad", x);
  const Pattern elementwise = any(is_plain_elementwise);
  const auto attrs = [](const Found& f) { return f.root().attrs; };
  return {
      {"stop_gradient, when evaluating", op("stop_gradient", x), [=](const Found& f) { return f[x]; }},
      {"reshape to the same shape", op("reshape", x), unless_it_moves(x)},
      {"reshape of a reshape", op("reshape", op("reshape", x)),
       [=](const Found& f) { return reshape(f[x], f.root().spec.shape); }},
      {"permute of a permute", op("permute", moved),
       [=](const Found& f) {
         return permute_at_once(f[x], f.node(moved).attrs.as<PermuteAttrs>(), attrs(f).as<PermuteAttrs>());
       }},
      {"broadcast to the same shape", op("broadcast_to", x), unless_it_moves(x)},
      {"broadcast of a broadcast", op("broadcast_to", op("broadcast_to", x)),
       [=](const Found& f) { return f[x]; }},
      {"slice of a slice", op("slice", cut),
       [=](const Found& f) {
         return slice_at_once(f[x], f.node(cut).attrs.as<SliceAttrs>(), attrs(f).as<SliceAttrs>());
       }},
      {"slice of a concatenation", op("slice", x), slice_of_part},
      {"slice of a padding", op("slice", padded),
       [=](const Found& f) {
         return slice_inside(f[x], f.node(padded).attrs.as<PadAttrs>(), attrs(f).as<SliceAttrs>());
       }},
      {"concatenation of one part", op("concat", x), [=](const Found& f) { return f[x]; }},
      {"padding by nothing", op("pad", x), unless_it_moves(x)},
      {"f(broadcast x)", elementwise, compute_before_broadcast},
      {"f(x, broadcast y)", elementwise, broadcast_by_the_op},
      {"f(reshape x)", elementwise, compute_before_reshape},
  };
}

}  // namespace wick
