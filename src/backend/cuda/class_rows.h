#pragma once

#include <cstdint>

#include "wick/dtype.h"

// The steps of a cross-entropy over logits that are never held whole: chunk by chunk of classes, for all
// rows.
namespace wick::cuda {

/// A softmax over the classes seen so far.
struct RunningSoftmax {
  float largest;    ///< logit
  float sum;        ///< of exp(logit - largest)
  float at_target;  ///< logit
  float unused;
  double logits;  ///< their sum, kept for label smoothing
};

/// Logits [rows, count] of classes from `first` on, and the targets of the rows.
struct ClassChunk {
  const float* logits;
  std::int64_t rows;
  std::int64_t count;
  std::int64_t first;
  std::int64_t classes;  ///< of all chunks
  const void* targets;
  bool wide_targets;
  std::int64_t ignored;
};

/// The weight of all classes, with the elements from one class to the next, and from one feature.
struct ClassWeight {
  const void* data;
  DType dtype;
  std::int64_t classes, d;
  std::int64_t class_step, feature_step;
};

void launch_start_rows(RunningSoftmax* states, std::int64_t rows);

/// Takes a chunk in. Where `weights` is given, it becomes exp(logit - largest) [rows, count] in `dtype`, and
/// a row of `gradient` [rows, d] is scaled down where its largest logit grew. A target that is no class is
/// reported.
void launch_add_classes(const ClassChunk& chunk, RunningSoftmax* states, bool sums_logits, void* weights,
                        DType dtype, float* gradient, std::int64_t d);

/// The sum of the losses of the rows that are not ignored, to `total`; `losses` is memory for one a row.
void launch_sum_losses(const ClassChunk& all, const RunningSoftmax* states, double smoothing, double* losses,
                       float* total);

/// gradient / sum - (1 - e) w_target - e / classes weight_sum, 0 in ignored rows, in place; and log(sum(exp))
/// of each row.
void launch_finish_gradient(const ClassChunk& all, const RunningSoftmax* states, double smoothing,
                            const ClassWeight& weight, const float* weight_sum, float* gradient,
                            float* log_norms);

/// The sum of the weight over all classes, [d]; `parts` is memory for weight_sum_parts of them.
inline constexpr std::int64_t weight_sum_parts = 64;
void launch_sum_weights(const ClassWeight& weight, float* parts, float* sum);

/// (softmax - (1 - e) one_hot - e / classes) grad of a chunk, in `dtype`; 0 in ignored rows.
void launch_class_gradients(const ClassChunk& chunk, const float* log_norms, double smoothing,
                            const float* grad, DType dtype, void* out);

}  // namespace wick::cuda
