#include "ops/append_attention.h"

#include <array>

#include "ops/attributes.h"
#include "ops/helpers.h"

namespace wick {
namespace {

using In = AppendAttentionInputs;

/// Scores and weighted values of every position of the cache, and three operations an element that is
/// rotated.
double flops(InputSpecs inputs, const Spec& output, const Attrs&) {
  const auto n = static_cast<double>(inputs[In::k_cache].shape[2]);
  const auto d = static_cast<double>(output.shape[3]);
  const auto queries = static_cast<double>(output.shape.elements()) / d;
  const auto rotated = static_cast<double>(output.shape.elements() + inputs[In::k].shape.elements());
  return queries * n * (4 * d + 5) + 3 * rotated;
}

/// The caches are read, and written at one position.
double bytes(InputSpecs inputs, const Spec& output, const Attrs&, bool) {
  double sum = bytes_of(output) + bytes_of(inputs[In::k]) + bytes_of(inputs[In::v]);
  for (const Spec& input : inputs) sum += bytes_of(input);
  return sum;
}

}  // namespace

const Op& append_attention_op() {
  static constexpr std::array<std::uint32_t, 2> updates{In::k_cache, In::v_cache};
  static constexpr Op op{.name = "append_attention",
                         .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[In::q]; },
                         .flops = flops,
                         .bytes = bytes,
                         .updates = updates};
  return op;
}

}  // namespace wick
