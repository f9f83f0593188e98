#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "wick/dtype.h"
#include "wick/shape.h"

// Attribute structs that ops and kernels share. Fields are 8 bytes wide (or the struct has no padding),
// because `Attrs` compares and hashes them as bytes.
namespace wick {

struct AxisAttrs {
  std::int64_t axis;
};

/// A target shape (and, for ops that make data, its dtype).
struct ShapeAttrs {
  std::array<std::int64_t, max_rank> dims;
  std::int32_t rank;
  std::int32_t dtype;

  static ShapeAttrs of(const Shape& shape, DType dtype = DType::f32) {
    ShapeAttrs attrs{};
    for (int i = 0; i < shape.rank(); ++i) attrs.dims[static_cast<std::size_t>(i)] = shape[i];
    attrs.rank = shape.rank();
    attrs.dtype = static_cast<std::int32_t>(dtype);
    return attrs;
  }
  Shape shape() const {
    return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank)));
  }
  DType type() const { return static_cast<DType>(dtype); }
};

/// Reduced axes as bits, and whether they stay with size 1.
struct ReduceAttrs {
  std::uint32_t axes;
  std::uint32_t keep;

  bool reduces(int axis) const { return (axes >> axis) & 1u; }
};

/// 0: the likeliest.
struct CategoricalAttrs {
  double temperature;
};

struct ArgReduceAttrs {
  std::int64_t axis;
  std::int64_t keep;
};

struct PermuteAttrs {
  std::array<std::int8_t, max_rank> order;
};

/// `count` elements from `start` in steps of `step` along `axis`; normalised, within the dimension.
struct SliceAttrs {
  std::int64_t axis;
  std::int64_t start;
  std::int64_t step;
  std::int64_t count;
};

struct PadAttrs {
  std::int64_t axis;
  std::int64_t low;
  std::int64_t high;
  double value;
};

struct CastAttrs {
  std::int64_t dtype;
  DType type() const { return static_cast<DType>(dtype); }
};

/// Limits; an infinite one does not limit.
struct ClampAttrs {
  double low;
  double high;
};

/// A rank-0 constant.
struct ConstantAttrs {
  double value;
  std::int64_t dtype;
  DType type() const { return static_cast<DType>(dtype); }
};

struct ArangeAttrs {
  std::int64_t count;
  std::int64_t dtype;
  double start;
  double step;
  DType type() const { return static_cast<DType>(dtype); }
};

struct SortAttrs {
  std::int64_t axis;
  std::int64_t descending;
};

struct DropoutAttrs {
  double probability;
};

struct NormAttrs {
  double eps;
};

struct AttentionAttrs {
  double scale;
  std::int64_t causal;
  std::int64_t window;
  std::int64_t has_mask;
  std::int64_t has_offset;
};

struct LoraAttrs {
  double scale;
  std::int64_t has_bias;
  std::int64_t transposed;  ///< weight is [in, out], a [in, rank] and b [rank, out]
};

struct LoraProjectionAttrs {
  double scale;
  std::int64_t transposed;
};

struct LoraUpdateAttrs {
  std::int64_t has_bias;
  std::int64_t transposed;
};

struct LoraUpdateSumAttrs {
  static constexpr std::size_t most_members = 3;  ///< queries, keys and values
  std::int64_t has_bias = 0;
  std::int64_t transposed = 0;
  std::int64_t plain = 0;                     ///< a bit for each member that has no factors
  std::int64_t projecting = 0;                ///< a bit for each member that computes its t
  std::int64_t kept = 0;                      ///< a bit for each of these whose t is a result
  std::array<double, most_members> scales{};  ///< of the projections
};

struct LoraGradientAttrs {
  std::int64_t transposed;  ///< a bit for each member of several
  bool is_transposed(std::size_t member) const { return (transposed >> member & 1) != 0; }
};

struct ThinLinearAttrs {
  double eps;  ///< of the norm
  std::int64_t parts;
  std::int64_t has_bias;
  std::int64_t has_norm;
  std::int64_t gated;
  std::int64_t has_residual;
};

enum class Activation : std::int64_t { none, relu, gelu, gelu_tanh, silu };
/// The op that it is.
constexpr std::string_view name_of(Activation activation) {
  switch (activation) {
    case Activation::none: return "none";
    case Activation::relu: return "relu";
    case Activation::gelu: return "gelu";
    case Activation::gelu_tanh: return "gelu_tanh";
    case Activation::silu: break;
  }
  return "silu";
}
enum class Combination : std::int64_t { none, add, mul };

/// What a product's result goes through before it is written, in this order.
struct LinearEpilogueAttrs {
  std::int64_t has_bias;
  std::int64_t transposed;  ///< the weight is [in, out]
  Activation activation;
  Combination combination;  ///< with a tensor of the result's shape
};

struct CrossEntropyAttrs {
  std::int64_t ignore_index;
  double label_smoothing;
};

}  // namespace wick
