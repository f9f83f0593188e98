#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/layout.h"
#include "wick/tensor.h"

namespace wick {

/// An op's parameters: one trivially copyable struct without padding (fields of 8 bytes, or unique object
/// representations), kept as bytes so that equality and hashing of graphs need no knowledge of ops.
class Attrs {
 public:
  static constexpr std::size_t capacity = 72;

  Attrs() = default;
  template <typename T>
  requires(!std::is_same_v<T, Attrs>) Attrs(const T& value)
      : size_(sizeof(T)) {  // NOLINT(google-explicit-constructor): reads as the struct it holds
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= capacity);
    static_assert(std::has_unique_object_representations_v<T> || sizeof(T) % 8 == 0);
    std::memcpy(bytes_.data(), &value, sizeof(T));
  }
  template <typename T>
  T as() const {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= capacity);
    T value;
    std::memcpy(static_cast<void*>(&value), bytes_.data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> bytes() const noexcept { return {bytes_.data(), size_}; }
  friend bool operator==(const Attrs& a, const Attrs& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(a.bytes_.data(), b.bytes_.data(), a.size_) == 0;
  }

 private:
  alignas(8) std::array<std::byte, capacity> bytes_{};
  std::size_t size_ = 0;
};

/// What can be known of a tensor before it is computed.
struct Spec {
  Shape shape;
  DType dtype = DType::f32;

  friend bool operator==(const Spec&, const Spec&) = default;
};

/// Arguments of an op's rules. `inputs` of infer are specs, elsewhere tensors.
using InputSpecs = std::span<const Spec>;
using Inputs = std::span<const Tensor>;

struct VjpArgs {
  Inputs inputs;
  const Tensor& output;
  const Tensor& grad;  ///< of the loss with respect to the output; same shape and dtype as the output
  const Attrs& attrs;
  std::span<const bool> needed;  ///< per input: whether its gradient is wanted
};

/// Everything there is to know of an op, in one place. Instances are constants with static lifetime, one an
/// op, so that their addresses identify them.
struct Op {
  std::string_view name;

  /// Output spec, or a ShapeError / DTypeError / ArgumentError whose text says what is wrong (the recorder
  /// adds the op's name, the inputs and the caller's location).
  Spec (*infer)(InputSpecs inputs, const Attrs& attrs) = nullptr;

  /// Composite ops only: the meaning in terms of other ops.
  Tensor (*decompose)(Inputs inputs, const Attrs& attrs) = nullptr;

  /// Gradients, one an input (an empty Tensor where there is none). Null: the gradient of the decomposition.
  std::vector<Tensor> (*vjp)(const VjpArgs& args) = nullptr;

  /// Movement ops only: the output's layout over the input's storage, or nothing when a copy is needed.
  std::optional<Layout> (*view)(const Layout& input, const Spec& output, const Attrs& attrs) = nullptr;

  /// Attributes as text for `explain` and error messages.
  std::string (*describe)(const Attrs& attrs) = nullptr;

  /// Floating-point operations: an addition, a product, a comparison, or one elementary function counts one.
  /// Null: what the decomposition takes, else one an element of an elementwise result, else none.
  double (*flops)(InputSpecs inputs, const Spec& output, const Attrs& attrs) = nullptr;

  /// Bytes read and written, where that is not each input and the output once; `in_place` says that the
  /// output lies where input 0 did.
  double (*bytes)(InputSpecs inputs, const Spec& output, const Attrs& attrs, bool in_place) = nullptr;

  /// Inputs that the op changes, for ops that only passes make: each changed input is one more result, which
  /// a `pick` node stands for, and takes the input's memory where nobody else needs that.
  std::span<const std::uint32_t> updates = {};

  /// How many results it has, all of what `infer` says. A graph node is the first; `pick` nodes stand for the
  /// others.
  std::size_t results = 1;

  /// Of ops that only passes make, which have results of several shapes: all of them, the first as `infer`
  /// says.
  std::vector<Spec> (*infer_all)(InputSpecs inputs, const Attrs& attrs) = nullptr;

  /// Output element i depends on (broadcast) input elements i only.
  bool elementwise = false;
  /// False: no gradient flows (comparisons, argmax, random bits, stop_gradient).
  bool differentiable = true;
};

}  // namespace wick
