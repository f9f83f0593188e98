#pragma once

#include <optional>

#include "wick/tensor.h"

namespace wick {

/// exp(x - max) / sum along `axis`.
Tensor softmax(const Tensor& x, int axis = -1, SourceLocation where = SourceLocation::current());
/// log(softmax(x)), without forming the softmax.
Tensor log_softmax(const Tensor& x, int axis = -1, SourceLocation where = SourceLocation::current());

/// weight x / sqrt(mean(x^2) + eps) over the last dimension (Zhang and Sennrich 2019,
/// https://arxiv.org/abs/1910.07467); x [..., d], weight [d] or empty. Computes in f32 for narrower dtypes,
/// rounds to x's dtype before the weight as Hugging Face's LlamaRMSNorm does.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps,
                SourceLocation where = SourceLocation::current());
/// (x - mean) / sqrt(var + eps) weight + bias over the last dimension (Ba et al. 2016,
/// https://arxiv.org/abs/1607.06450); x [..., d], weight and bias [d] or empty.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                  SourceLocation where = SourceLocation::current());

/// Rotary position embedding in the half-split form of Hugging Face's Llama (Su et al. 2021,
/// https://arxiv.org/abs/2104.09864): x [batch, heads, length, d], cos and sin [batch or 1, length, d/2] f32
/// -> [x1 cos - x2 sin, x2 cos + x1 sin] with x1, x2 the halves of the last dimension.
Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin,
            SourceLocation where = SourceLocation::current());

/// What a query may attend to.
struct AttentionOptions {
  double scale = 0;         ///< factor on q k^T; 0 means 1 / sqrt(d)
  bool causal = false;      ///< key position <= query position
  std::int64_t window = 0;  ///< > 0: also query position - key position < window (Mistral's sliding window)
};
/// softmax(scale q k^T + mask) v (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762):
/// q [batch, heads, m, d], k and v [batch, kv_heads, n, d], heads a multiple of kv_heads (grouped heads:
/// query head h reads key head h / (heads / kv_heads)) -> [batch, heads, m, d]. `mask`: empty, or
/// broadcastable to [batch, heads, m, n]: bool (true = may attend) or floating (added). `offset`: empty (then
/// n - m), or a rank-0 i64 tensor: the position of query 0; key j has position j. A query that may attend to
/// nothing gives zeros.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options = {},
                 const Tensor& mask = {}, const Tensor& offset = {},
                 SourceLocation where = SourceLocation::current());

/// silu(gate) up (Shazeer 2020, https://arxiv.org/abs/2002.05202); equal shapes.
Tensor swiglu(const Tensor& gate, const Tensor& up, SourceLocation where = SourceLocation::current());

/// Sum over all targets of the negative log likelihood, as a rank-0 f32 (f64 for f64 logits) tensor:
/// logits [..., classes], targets [...] (i32 or i64). A target equal to `ignore_index` counts nothing. With
/// smoothing e each target's loss is (1 - e) nll + e mean_c(-log p_c), as PyTorch's label_smoothing. A mean
/// over the counted targets is this divided by their number, which the caller knows (and must not be 0).
Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index = -100,
                         double label_smoothing = 0, SourceLocation where = SourceLocation::current());
/// The mean over the targets that are not ignored; 0 when all are.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index = -100,
                     double label_smoothing = 0, SourceLocation where = SourceLocation::current());

/// `cross_entropy_sum` of the logits hidden weight^T: hidden [..., d], weight [classes, d], targets [...].
/// The logits are computed in f32, some classes at a time, and never held whole, in the gradient neither: for
/// output heads over large vocabularies.
Tensor linear_cross_entropy_sum(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                                std::int64_t ignore_index = -100, double label_smoothing = 0,
                                SourceLocation where = SourceLocation::current());
/// The mean over the targets that are not ignored; 0 when all are.
Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            std::int64_t ignore_index = -100, double label_smoothing = 0,
                            SourceLocation where = SourceLocation::current());

}  // namespace wick
