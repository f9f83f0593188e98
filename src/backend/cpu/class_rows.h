#pragma once

#include <cstdint>

#include "wick/dtype.h"

namespace wick {

/// The running softmax of one row of logits that come some classes at a time (Milakov and Gimelshein 2018,
/// https://arxiv.org/abs/1805.02867).
struct RunningSoftmax {
  float largest;  ///< logit so far
  float sum;      ///< of exp(logit - largest)
  double logits;  ///< their sum, where smoothing asks for it
  float at_target;
};

/// Adds `count` logits to a row's state and writes exp(logit - largest) to `weights` (f32 or bf16; it may be
/// the logits' own memory for f32, and null where only the state is wanted). `gradient`, d numbers that are
/// relative to the former largest, is made relative to the new one.
void add_classes(RunningSoftmax& row, const float* logits, std::int64_t count, bool sum_logits, void* weights,
                 DType dtype, float* gradient, std::int64_t d);

/// weights[i] = (exp(logits[i] - log_norm) - uniform) scale
void class_gradients(const float* logits, std::int64_t count, float log_norm, float uniform, float scale,
                     void* weights, DType dtype);

/// to[i] = from[i] scale - weight_scale weight[i]; weight is f32, bf16 or f16.
void finish_gradient(const float* from, float scale, DType dtype, const void* weight, float weight_scale,
                     float* to, std::int64_t d);

}  // namespace wick
