#include <limits>

#include "ops/attributes.h"
#include "optimize/constants.h"
#include "optimize/patterns/scaled.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

/// Masks are looked at, not at how they are made: up to 4,096 positions squared.
constexpr std::uint64_t most_mask_bytes = std::uint64_t{64} << 20;

/// Which keys a query may see, as [queries, keys] flags.
struct Visible {
  std::int64_t queries;
  std::int64_t keys;
  std::vector<char> flags;
};

/// The options that say the same as a mask; nothing when none do, or when a query does not see itself (rows
/// that see nothing are NaN in plain ops, and 0 in attention).
std::optional<AttentionOptions> options_of(const Visible& mask) {
  const std::int64_t past = mask.keys - mask.queries;
  if (past < 0) return std::nullopt;
  const auto seen = [&](std::int64_t i, std::int64_t j) {
    return mask.flags[static_cast<std::size_t>(i * mask.keys + j)] != 0;
  };
  AttentionOptions options;
  options.causal = mask.queries > 0 && mask.keys > 1 && !seen(0, mask.keys - 1);
  // The last query has the most keys behind it.
  std::int64_t window = 0;
  while (window < mask.keys && seen(mask.queries - 1, mask.keys - 1 - window)) ++window;
  options.window = window < mask.keys ? window : 0;
  if (window == 0) return std::nullopt;
  for (std::int64_t i = 0; i < mask.queries; ++i)
    for (std::int64_t j = 0; j < mask.keys; ++j) {
      const std::int64_t distance = i + past - j;
      const bool expected =
          (!options.causal || distance >= 0) && (options.window == 0 || distance < options.window);
      if (seen(i, j) != expected) return std::nullopt;
    }
  return options;
}

/// A mask's elements as flags; nothing when it differs between heads, or depends on data.
template <typename Flag>
std::optional<Visible> visible(const Graph& graph, std::uint32_t node, const Shape& scores,
                               const Flag& flag) {
  const Spec& spec = graph.nodes[node].spec;
  const Shape& shape = spec.shape;
  if (shape.rank() < 2 || shape.elements() != shape.dim(-1) * shape.dim(-2) ||
      shape.dim(-1) != scores.dim(-1) || shape.dim(-2) != scores.dim(-2))
    return std::nullopt;
  ConstantValues values(graph, most_mask_bytes, node);
  const std::shared_ptr<Storage> data = values.is_known(node) ? values.value(node) : nullptr;
  if (!data) return std::nullopt;
  Visible mask{shape.dim(-2), shape.dim(-1), std::vector<char>(static_cast<std::size_t>(shape.elements()))};
  for (std::size_t i = 0; i < mask.flags.size(); ++i) {
    const std::optional<bool> seen = flag(element_of(spec.dtype, data->data() + i * size_of(spec.dtype)));
    if (!seen) return std::nullopt;
    mask.flags[i] = *seen;
  }
  return mask;
}

/// The lowest numbers of f32 and bf16 hide a key as -inf does: exp of the distance to any other is 0.
bool hides(double value) { return value <= -0x1.fep127; }

std::optional<bool> seen_where_true(double value) { return value != 0; }
std::optional<bool> seen_where_false(double value) { return value == 0; }
/// Added to scores.
std::optional<bool> seen_where_zero(double value) {
  return value == 0 || hides(value) ? std::optional(value == 0) : std::nullopt;
}

struct Parts {
  Pattern q;
  Pattern k;
  Pattern v;
  Pattern keys = op("permute", k);
  Scaled scaled_q{q};
  Scaled scaled_keys{keys};
  /// Of two matrices, `linear` was found before.
  Pattern product = either(op("matmul", scaled_q.whole, scaled_keys.whole), op("linear", scaled_q.whole, k));
  Scaled scores{maybe_cast(product)};

  double scale(const Found& f) const { return scaled_q.scale(f) * scaled_keys.scale(f) * scores.scale(f); }
};

Tensor shaped(const Tensor& x, const Shape& shape) { return x.shape() == shape ? x : reshape(x, shape); }

/// [batch, heads, length, d] of the shape of heads, grouped heads, one head or one matrix.
Shape heads_of(const Shape& shape) {
  const int rank = shape.rank();
  const std::int64_t batch = rank >= 4 ? shape[0] : 1;
  const std::int64_t heads = shape.slice(rank >= 4 ? 1 : 0, rank - 2).elements();
  return {batch, heads, shape[rank - 2], shape[rank - 1]};
}

/// Whether keys of shape `k` are broadcast to queries of shape `q` as the key heads of grouped heads are: the
/// last ones of their leading dimensions.
bool groups_heads(const Shape& q, const Shape& k) {
  if (q.rank() != k.rank() || q.dim(-1) != k.dim(-1)) return false;
  bool broadcast = false;
  for (int d = 0; d < q.rank() - 2; ++d) {
    broadcast = broadcast || k[d] != q[d];
    if (broadcast && (k[d] != 1 || (d == 0 && q.rank() >= 4))) return false;
  }
  return true;
}

/// k, of the product's permuted operand.
Tensor keys_of(const Found& f, const Parts& p) {
  if (!f.has(p.keys)) return f[p.k];
  const auto order = f.node(p.keys).attrs.as<PermuteAttrs>().order;
  const int rank = f.node(p.keys).spec.shape.rank();
  bool transposes = order[static_cast<std::size_t>(rank - 1)] == rank - 2;
  for (int d = 0; d < rank - 2; ++d) transposes = transposes && order[static_cast<std::size_t>(d)] == d;
  return transposes ? f[p.k] : transpose(f[p.keys]);
}

/// [b, g, n, d] where heads [b, g r, n, d] are its heads r times each; else an empty tensor.
Tensor unrepeated(const Found& f, std::uint32_t node) {
  const auto& nodes = f.graph().nodes;
  const auto input_of = [&](std::uint32_t i, std::string_view op) {
    const bool is_op = nodes[i].op && nodes[i].op->name == op;
    return is_op ? std::optional(nodes[i].inputs[0]) : std::nullopt;
  };
  const Shape& heads = nodes[node].spec.shape;
  const auto copies = input_of(node, "reshape");
  const auto source = copies ? input_of(*copies, "broadcast_to") : std::nullopt;
  if (!source || heads.rank() != 4) return {};
  const Shape& from = nodes[*source].spec.shape;
  const Shape& to = nodes[*copies].spec.shape;
  const bool repeats = from.rank() == 5 && to == from.with(2, to[2]) && from[2] == 1 && heads_of(to) == heads;
  return repeats ? reshape(f.tensor(*source), from.without(2)) : Tensor{};
}

/// `attention` of what was found; empty where it does not take that.
Tensor attend(const Found& f, const Parts& p, AttentionOptions options) {
  const Spec& q = f.node(p.q).spec;
  const Spec& v = f.node(p.v).spec;
  const Tensor keys = keys_of(f, p);
  const bool fits = q.shape.rank() >= 2 && keys.shape() == v.shape && keys.dtype() == q.dtype &&
                    groups_heads(q.shape, v.shape) && f.root().spec.shape == q.shape &&
                    f.root().spec.dtype == q.dtype && v.dtype == q.dtype && is_floating(q.dtype) &&
                    q.shape.elements() > 0 && v.shape.elements() > 0;
  options.scale = p.scale(f);
  if (!fits || options.scale == 0) return {};
  const Tensor fewer_keys = unrepeated(f, f.position(p.k));
  const Tensor fewer_values = unrepeated(f, f.position(p.v));
  const bool repeated =
      fewer_keys.defined() && fewer_values.defined() && fewer_keys.shape() == fewer_values.shape();
  const Shape key_shape = heads_of(v.shape);
  const Tensor result =
      attention(shaped(f[p.q], heads_of(q.shape)), repeated ? fewer_keys : shaped(keys, key_shape),
                repeated ? fewer_values : shaped(f[p.v], key_shape), options);
  return shaped(result, q.shape);
}

/// `softmax(masked) v`, where `look` gives what may be seen.
template <typename Look>
Rule pattern(std::string_view name, const Parts& p, const Pattern& masked, const Look& look) {
  const Pattern weights = op("softmax", maybe_cast(masked));
  return {name, op("matmul", maybe_cast(weights), p.v), [=](const Found& f) {
            if (f.node(weights).attrs.as<AxisAttrs>().axis != f.node(weights).spec.shape.rank() - 1)
              return Tensor{};
            const std::optional<AttentionOptions> options = look(f);
            return options ? attend(f, p, *options) : Tensor{};
          }};
}

}  // namespace

std::vector<Rule> attention_patterns() {
  const Parts p;
  const Pattern& scores = p.scores.whole;
  const Pattern mask;
  const Pattern lowest = number();
  const auto of_mask = [=](const Found& f, const auto& flag) -> std::optional<AttentionOptions> {
    if (f.has(lowest) && !hides(f.value(lowest))) return std::nullopt;
    const auto seen = visible(f.graph(), f.position(mask), f.node(p.product).spec.shape, flag);
    return seen ? options_of(*seen) : std::nullopt;
  };
  return {
      pattern("attention", p, scores, [](const Found&) { return std::optional(AttentionOptions{}); }),
      pattern("attention, others hidden", p, op("where", mask, scores, lowest),
              [=](const Found& f) { return of_mask(f, seen_where_true); }),
      pattern("attention, filled where hidden", p, op("where", mask, lowest, scores),
              [=](const Found& f) { return of_mask(f, seen_where_false); }),
      pattern("attention, others hidden by what is added", p, op("add", maybe_cast(scores), mask),
              [=](const Found& f) { return of_mask(f, seen_where_zero); }),
  };
}

}  // namespace wick
