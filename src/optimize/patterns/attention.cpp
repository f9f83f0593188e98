#include <cstring>
#include <limits>

#include "ops/attributes.h"
#include "optimize/constants.h"
#include "optimize/recognize_patterns.h"
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
  const Shape& shape = graph.nodes[node].spec.shape;
  if (shape.rank() < 2 || shape.elements() != shape.dim(-1) * shape.dim(-2) ||
      shape.dim(-1) != scores.dim(-1) || shape.dim(-2) != scores.dim(-2))
    return std::nullopt;
  ConstantValues values(graph, most_mask_bytes);
  const std::shared_ptr<Storage> data = values.is_known(node) ? values.value(node) : nullptr;
  if (!data) return std::nullopt;
  Visible mask{shape.dim(-2), shape.dim(-1), std::vector<char>(static_cast<std::size_t>(shape.elements()))};
  for (std::size_t i = 0; i < mask.flags.size(); ++i) {
    const std::optional<bool> seen = flag(data->data(), i);
    if (!seen) return std::nullopt;
    mask.flags[i] = *seen;
  }
  return mask;
}

std::optional<bool> flag_of_bool(const std::byte* data, std::size_t i) { return data[i] != std::byte{0}; }

/// Added to scores in f32: 0 shows a key, -inf hides it.
std::optional<bool> flag_of_float(const std::byte* data, std::size_t i) {
  float value = 0;
  std::memcpy(&value, data + i * sizeof value, sizeof value);
  if (value == 0) return true;
  return value == -std::numeric_limits<float>::infinity() ? std::optional(false) : std::nullopt;
}

/// The lowest numbers hide a key as -inf does: exp of the distance to any other is 0.
bool hides(double value) { return value <= static_cast<double>(std::numeric_limits<float>::lowest()); }

struct Parts {
  Pattern q;
  Pattern k;
  Pattern v;
  Pattern keys = op("permute", k);
  Pattern factor = number();
  Pattern divisor = number();
  Pattern early_factor = number();
  Pattern product = op("matmul", either(op("mul", q, early_factor), q), keys);
  Pattern scores = either(op("mul", product, factor), either(op("div", product, divisor), product));
};

/// Whether q k^T is one of heads [batch, heads, length, d] that attention takes.
bool fits(const Found& f, const Parts& p) {
  const Spec& q = f.node(p.q).spec;
  const Spec& k = f.node(p.k).spec;
  const auto order = f.node(p.keys).attrs.as<PermuteAttrs>().order;
  const bool transposes = order[0] == 0 && order[1] == 1 && order[2] == 3 && order[3] == 2;
  return q.shape.rank() == 4 && k.shape.rank() == 4 && transposes && k.shape == f.node(p.v).spec.shape &&
         q.shape[0] == k.shape[0] && q.shape[1] == k.shape[1] && q.shape[3] == k.shape[3] &&
         f.root().spec.shape == q.shape && f.root().spec.dtype == q.dtype &&
         f.node(p.v).spec.dtype == q.dtype && is_floating(q.dtype) && q.shape.elements() > 0 &&
         k.shape.elements() > 0;
}

double scale_of(const Found& f, const Parts& p) {
  const double early = f.has(p.early_factor) ? f.value(p.early_factor) : 1;
  if (f.has(p.factor)) return early * f.value(p.factor);
  return f.has(p.divisor) ? early / f.value(p.divisor) : early;
}

/// `softmax(masked) v`, where `look` gives what may be seen.
template <typename Look>
Rule pattern(std::string_view name, const Parts& p, const Pattern& masked, const Look& look) {
  const Pattern weights = op("softmax", maybe_cast(masked));
  return {name, op("matmul", maybe_cast(weights), p.v), [=](const Found& f) {
            const int rank = f.node(weights).spec.shape.rank();
            if (!fits(f, p) || f.node(weights).attrs.as<AxisAttrs>().axis != rank - 1) return Tensor{};
            std::optional<AttentionOptions> options = look(f);
            const double scale = scale_of(f, p);
            if (!options || scale == 0) return Tensor{};
            options->scale = scale;
            return attention(f[p.q], f[p.k], f[p.v], *options);
          }};
}

}  // namespace

std::vector<Rule> attention_patterns() {
  const Parts p;
  const Pattern mask;
  const Pattern lowest = number();
  const auto of_mask = [=](const Found& f, const auto& flag) -> std::optional<AttentionOptions> {
    const auto seen = visible(f.graph(), f.position(mask), f.node(p.product).spec.shape, flag);
    return seen ? options_of(*seen) : std::nullopt;
  };
  return {
      pattern("attention", p, p.scores, [](const Found&) { return std::optional(AttentionOptions{}); }),
      pattern("attention, others hidden", p, op("where", mask, p.scores, lowest),
              [=](const Found& f) -> std::optional<AttentionOptions> {
                return hides(f.value(lowest)) ? of_mask(f, flag_of_bool) : std::nullopt;
              }),
      pattern("attention, others hidden by -inf added", p, op("add", p.scores, mask),
              [=](const Found& f) -> std::optional<AttentionOptions> {
                return f.node(mask).spec.dtype == DType::f32 ? of_mask(f, flag_of_float) : std::nullopt;
              }),
  };
}

}  // namespace wick
