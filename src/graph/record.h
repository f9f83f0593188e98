#pragma once

#include <initializer_list>

#include "graph/op.h"

namespace wick {

/// A tensor that is named in a list of inputs; lives no longer than the call.
class TensorRef {
 public:
  TensorRef(const Tensor& tensor) noexcept : tensor_(&tensor) {}  // NOLINT: implicit by design
  operator const Tensor&() const noexcept { return *tensor_; }    // NOLINT: implicit by design

 private:
  const Tensor* tensor_;
};

/// Records `op` applied to `inputs`: checks shapes and dtypes by the op's own rule and returns the new
/// tensor. Errors are rethrown with the op's name, the inputs' specs and the location of the caller.
Tensor record(const Op& op, Inputs inputs, const Attrs& attrs, SourceLocation where);
Tensor record(const Op& op, std::initializer_list<TensorRef> inputs, const Attrs& attrs,
              SourceLocation where);

/// While one lives, ops recorded on this thread take `where` as their location: the parts of a composite and
/// the gradient ops point at the user's line, not into Wick.
class LocationScope {
 public:
  explicit LocationScope(SourceLocation where);
  ~LocationScope();
  LocationScope(const LocationScope&) = delete;
  LocationScope& operator=(const LocationScope&) = delete;

 private:
  const SourceLocation* previous_;
  SourceLocation where_;
};

/// While one lives, ops recorded on this thread have locations of their own again, inside a LocationScope
/// too.
class OwnLocationsScope {
 public:
  OwnLocationsScope();
  ~OwnLocationsScope();
  OwnLocationsScope(const OwnLocationsScope&) = delete;
  OwnLocationsScope& operator=(const OwnLocationsScope&) = delete;

 private:
  const SourceLocation* previous_;
};

/// Called with each op recorded on this thread; null when recording is lazy. The runtime's eager mode sets
/// it.
using RecordHook = void (*)(const Tensor& recorded);
RecordHook& record_hook() noexcept;

/// While one lives, ops recorded on this thread are a graph under construction: eager mode does not evaluate
/// them.
class LazyScope {
 public:
  LazyScope() : previous_(record_hook()) { record_hook() = nullptr; }
  ~LazyScope() { record_hook() = previous_; }
  LazyScope(const LazyScope&) = delete;
  LazyScope& operator=(const LazyScope&) = delete;

 private:
  RecordHook previous_;
};

/// "add(f32[2, 3], f32[4]) recorded at file.cpp:12"
std::string describe_call(const Op& op, InputSpecs inputs, const Attrs& attrs, SourceLocation where);

}  // namespace wick
