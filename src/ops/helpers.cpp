#include "ops/helpers.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "graph/node.h"
#include "graph/record.h"
#include "wick/error.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

template <typename T>
bool fits(double value) {
  // 2^digits is exact in double where the largest integer may not be.
  return value >= static_cast<double>(std::numeric_limits<T>::min()) &&
         value < std::ldexp(1.0, std::numeric_limits<T>::digits);
}

/// The node of a number, for all expressions that have it.
Tensor shared_constant(double value, DType dtype, SourceLocation where) {
  Tensor node = constant(value, dtype, where);
  node.node()->share_number();
  return node;
}

/// The first numbers that the process records live for good: a node that nobody counts is cheaper than one
/// whose count all threads write. Numbers that change from step to step must not fill the memory.
class FirstNumbers {
 public:
  static FirstNumbers& instance() {
    static FirstNumbers& numbers = *new FirstNumbers;  // never destroyed: other threads may record to the end
    return numbers;
  }

  Tensor number(double value, DType dtype, SourceLocation where) {
    std::lock_guard lock(mutex_);
    Numbers& numbers = numbers_[static_cast<std::size_t>(dtype)];
    const auto bits = std::bit_cast<std::uint64_t>(value);
    if (const auto found = numbers.find(bits); found != numbers.end()) return found->second;
    Tensor made = shared_constant(value, dtype, where);
    if (numbers.size() < most) {
      made.node()->live_for_good();
      numbers.emplace(bits, made);
    }
    return made;
  }

 private:
  using Numbers = std::unordered_map<std::uint64_t, Tensor>;
  static constexpr std::size_t most = 1024;  // of a dtype

  std::mutex mutex_;
  std::array<Numbers, dtype_count> numbers_;
};

/// The nodes of the last numbers on this thread: an expression that repeats a number records it once. Which
/// occurrences in an expression share a node depends on the expression alone, so its structure stays the same
/// from one recording to the next.
class RecentNumbers {
 public:
  const Tensor& number(double value, DType dtype, SourceLocation where) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t key = (bits ^ (static_cast<std::uint64_t>(dtype) << 52)) * 0x9E3779B97F4A7C15u;
    Entry& entry = entries_[key >> 60];
    if (!entry.node.defined() || entry.bits != bits || entry.dtype != dtype)
      entry = {bits, dtype, FirstNumbers::instance().number(value, dtype, where)};
    return entry.node;
  }

 private:
  struct Entry {
    std::uint64_t bits = 0;
    DType dtype = DType::f32;
    Tensor node;
  };
  std::array<Entry, 16> entries_;
};

Tensor number_operand(double value, DType dtype, SourceLocation where) {
  const Tensor* shared = shared_number(value, dtype, where);
  return shared ? *shared : constant(value, dtype, where);
}

bool fits_dtype(double value, DType dtype) {
  switch (dtype) {
    case DType::u8: return fits<std::uint8_t>(value);
    case DType::i32: return fits<std::int32_t>(value);
    case DType::i64: return fits<std::int64_t>(value);
    default: return true;
  }
}

}  // namespace

Tensor cast_to(const Tensor& x, DType dtype, SourceLocation where) {
  return x.dtype() == dtype ? x : cast(x, dtype, where);
}

DType dtype_beside(DType dtype, const Operand& number) noexcept {
  if (number.integral()) return dtype == DType::bool_ ? DType::i64 : dtype;
  return is_floating(dtype) ? dtype : DType::f64;
}

const Tensor* shared_number(double value, DType dtype, SourceLocation where) {
  if (record_hook()) return nullptr;
  thread_local RecentNumbers recent;
  return &recent.number(value, dtype, where);
}

Tensor to_tensor(const Operand& operand) {
  if (operand.tensor()) return *operand.tensor();
  return constant(operand.value(), operand.integral() ? DType::i64 : DType::f64, operand.where());
}

Tensor floating_tensor(const Operand& operand) {
  const Tensor x = to_tensor(operand);
  return x.defined() && !is_floating(x.dtype()) ? cast(x, DType::f64, operand.where()) : x;
}

Promoted promote_operands(const Operand& a, const Operand& b) {
  if (a.tensor() && !b.tensor() && a.tensor()->defined()) {
    const DType dtype = dtype_beside(a.tensor()->dtype(), b);
    return {cast_to(*a.tensor(), dtype, a.where()), number_operand(b.value(), dtype, a.where())};
  }
  if (!a.tensor() && b.tensor() && b.tensor()->defined()) {
    const DType dtype = dtype_beside(b.tensor()->dtype(), a);
    return {number_operand(a.value(), dtype, a.where()), cast_to(*b.tensor(), dtype, a.where())};
  }
  Promoted pair{to_tensor(a), to_tensor(b)};
  if (!pair.a.defined() || !pair.b.defined()) return pair;  // the recorder reports it
  const DType dtype = promote(pair.a.dtype(), pair.b.dtype());
  return {cast_to(pair.a, dtype, a.where()), cast_to(pair.b, dtype, a.where())};
}

Tensor sum_to(const Tensor& x, const Shape& shape, SourceLocation where) {
  if (x.shape() == shape) return x;
  const int added = x.rank() - shape.rank();
  std::vector<int> axes;
  for (int axis = 0; axis < x.rank(); ++axis)
    if (axis < added || shape[axis - added] != x.shape()[axis]) axes.push_back(axis);
  const Tensor reduced = axes.empty() ? x : sum(x, axes, true, where);
  return reshape(reduced, shape, where);
}

void require_floating(DType dtype) {
  if (!is_floating(dtype))
    throw DTypeError(fmt::format("it takes floating-point dtypes, not {}", name_of(dtype)));
}

void require_representable(double value, DType dtype) {
  if (!fits_dtype(value, dtype))
    throw ArgumentError(fmt::format("the number {} is outside the range of {}", value, name_of(dtype)));
}

void require_same_dtype(InputSpecs inputs) {
  for (const Spec& input : inputs)
    if (input.dtype != inputs[0].dtype)
      throw DTypeError(fmt::format("the inputs' dtypes differ: {} and {}", name_of(inputs[0].dtype),
                                   name_of(input.dtype)));
}

double one_an_input_element(InputSpecs inputs, const Spec&, const Attrs&) {
  return static_cast<double>(inputs[0].shape.elements());
}

double bytes_of(const Spec& spec) {
  return static_cast<double>(spec.shape.elements()) * static_cast<double>(size_of(spec.dtype));
}

}  // namespace wick
