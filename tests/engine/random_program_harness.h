#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "wick/tensor.h"

// Programs of random ops on random shapes, for comparing ways to evaluate one.
namespace wick::test {

/// Where a program gets its data. The first recording says what it needs, later ones may bring their own.
class ProgramData {
 public:
  /// f32 data becomes data of `real`: f32, or f64 for references.
  explicit ProgramData(DType real) : real_(real) {}
  /// These tensors, in the order in which the program asked for its data when it was recorded first.
  ProgramData(DType real, std::vector<Tensor> given) : real_(real), given_(std::move(given)) {}

  DType real() const noexcept { return real_; }
  /// The tensor to use for the next data that the program asks for; `make` makes it.
  Tensor next(const std::function<Tensor()>& make);
  const std::vector<Tensor>& used() const noexcept { return used_; }

 private:
  DType real_;
  std::vector<Tensor> given_;
  std::vector<Tensor> used_;
};

struct Recorded {
  std::vector<Tensor> outputs;
  /// Some values on the way, and whether 16-bit floats occur: then results hold to their precision only.
  std::vector<Tensor> values;
  bool narrow = false;
};

/// Records program number `seed`: values of random ops, and gradients of a loss of some of them. The same
/// seed records the same ops, whatever the data is.
Recorded record_program(std::uint64_t seed, ProgramData& data);

}  // namespace wick::test
