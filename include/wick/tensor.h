#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "wick/device.h"
#include "wick/dtype.h"
#include "wick/shape.h"
#include "wick/source_location.h"

namespace wick {

class Node;
class Evaluation;

/// A handle to a node of a lazily recorded computation: a shape, a dtype, a device, and data once it was
/// evaluated.
///
/// Copying is cheap and shares the node. Nodes are immutable: recording, copying and evaluating may happen on
/// any number of threads at once, also on tensors that share history. A default-constructed Tensor is empty;
/// every member but `defined` throws ArgumentError on it.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Node* node) noexcept;  // adopts a reference
  Tensor(const Tensor& other) noexcept : node_(other.node_) {
    if (node_) retain(node_);
  }
  Tensor(Tensor&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Tensor() {
    if (node_) release(node_);
  }

  /// Copies `data` (row-major) into a new tensor. Throws ShapeError when the element counts differ.
  template <typename T>
  static Tensor from(std::span<const T> data, const Shape& shape) {
    return from_bytes(std::as_bytes(data), shape, dtype_of<T>);
  }
  template <typename T>
  static Tensor from(const std::vector<T>& data, const Shape& shape) {
    return from(std::span<const T>(data), shape);
  }
  /// A rank-0 tensor that holds `value` as data (not as structure: plans are shared between values).
  template <typename T>
  static Tensor scalar(T value) {
    return from(std::span<const T>(&value, 1), Shape{});
  }
  /// Copies raw row-major bytes. Throws ShapeError when their number does not match.
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype);
  /// Wraps row-major bytes without copying them, e.g. a mapped file; `owner` keeps them alive. They are never
  /// written to. The address must be aligned to the element size (else the bytes are copied).
  static Tensor view_of(std::span<const std::byte> bytes, const Shape& shape, DType dtype,
                        std::shared_ptr<const void> owner);

  bool defined() const noexcept { return node_ != nullptr; }
  const Shape& shape() const;
  DType dtype() const;
  Device device() const;
  int rank() const { return shape().rank(); }
  std::int64_t dim(int axis) const { return shape().dim(axis); }
  std::int64_t elements() const { return shape().elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype()); }

  /// True once data is there (an `eval_async` in flight counts when it is complete).
  bool is_evaluated() const;
  /// Computes this tensor now, if it was not yet. Returns itself. Throws what execution throws.
  const Tensor& eval() const;
  /// Starts computing this tensor and returns at once; see `wick::eval_async`.
  Evaluation eval_async() const;

  /// A tensor of the same data without history: gradients stop here, and what led to it can be freed.
  /// Evaluates first when needed.
  Tensor detach() const;

  /// A tensor of the same data on `device`, without history; itself when it is there already. Evaluates first
  /// when needed. Ops take tensors of a GPU together with tensors of the host: the result is on the GPU, and
  /// small host tensors are copied there at each evaluation. Throws MemoryError, DeviceError.
  Tensor to(Device device) const;

  /// Evaluates, and copies the elements in row-major order. T must match the dtype (DTypeError).
  template <typename T>
  std::vector<T> to_vector() const {
    check_dtype(dtype_of<T>);
    std::vector<T> out(static_cast<std::size_t>(elements()));
    copy_bytes(std::as_writable_bytes(std::span<T>(out)));
    return out;
  }
  /// Evaluates, and returns the only element. Throws ShapeError when there is not exactly one.
  template <typename T>
  T item() const {
    check_single();
    check_dtype(dtype_of<T>);
    T value;
    copy_bytes(std::as_writable_bytes(std::span<T>(&value, 1)));
    return value;
  }
  /// Evaluates, and copies the row-major bytes into `out`, whose size must be `bytes()`.
  void copy_bytes(std::span<std::byte> out) const;

  /// "f32[2, 3]"
  std::string str() const;

  Node* node() const noexcept { return node_; }

 private:
  static void retain(const Node* node) noexcept;
  static void release(const Node* node) noexcept;
  void check_dtype(DType wanted) const;
  void check_single() const;
  Node& checked() const;
  Node* node_ = nullptr;
};

template <>
std::vector<bool> Tensor::to_vector<bool>() const;

}  // namespace wick
