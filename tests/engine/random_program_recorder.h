#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "random_program_harness.h"
#include "wick/ops.h"

namespace wick::test {

using Dims = std::vector<std::int64_t>;

/// Where ops are not continuous (comparisons, maxima and their ties, sorting), operands are those that are
/// the same bits however a program is evaluated: data, and what is moved, compared, or computed in integers.
struct Value {
  Tensor tensor;
  bool exact = false;
};

class Recorder {
 public:
  Recorder(std::uint64_t seed, ProgramData& data) : random_(seed), data_(data) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <typename T>
  const T& one_of(const std::vector<T>& list) {
    return list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
  }
  double number() {
    return one_of<double>({0, -0.0, 1, -1, 2, 0.5, 0.25, 3, -1.5, 0.1, 1 / 3.0, 4, -2, 0.7});
  }
  DType real() const { return data_.real(); }
  bool narrow = false;

  std::int64_t size() {
    if (allow_empty_ && chance(8)) return 0;
    if (allow_long_ && chance(40)) return one_of<std::int64_t>({48, 64, 100, 256, 259, 1024, 1100});
    return one_of<std::int64_t>({1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33});
  }
  Shape shape(int least_rank = 0, int most_rank = 4) {
    for (;;) {
      Dims dims(static_cast<std::size_t>(least_rank + below(most_rank - least_rank + 1)));
      for (std::int64_t& d : dims) d = size();
      const Shape made(dims);
      if (made.elements() <= (allow_long_ ? 100000 : 4096)) return made;
    }
  }

  /// New data of a shape.
  Tensor data(const Shape& shape) {
    const std::uint64_t seed = random_();
    const DType dtype = real();
    const Tensor made =
        data_.next([=] { return cast(random_normal(random_key(seed), shape), dtype).eval().detach(); });
    leaves_.push_back(made);
    return made;
  }
  Tensor indices(const Shape& shape, std::int64_t limit) {
    const std::uint64_t seed = random_();
    const bool negative = chance(30);
    return data_.next([=] {
      const Tensor uniform = random_uniform(random_key(seed), shape, DType::f64) * limit;
      const Tensor whole = cast(uniform, DType::i64);
      return (negative ? whole - limit : whole).eval().detach();
    });
  }

  Tensor value(bool exact = false) {
    for (int tries = 0; tries < 30; ++tries) {
      const Value& v = one_of(pool_);
      if (v.tensor.dtype() == real() && (v.exact || !exact)) return v.tensor;
    }
    return data(shape());
  }
  /// Of at least this rank, with its last dimension not empty.
  Tensor value_of_rank(int least, bool exact = false) {
    for (int tries = 0; tries < 30; ++tries) {
      Tensor v = value(exact);
      if (v.rank() >= least && v.dim(-1) > 0) return v;
    }
    return data(filled(shape(least)));
  }
  /// One that broadcasts with `shape`.
  Tensor partner(const Shape& shape, bool exact = false) {
    for (int tries = 0; tries < 10; ++tries) {
      Tensor v = value(exact);
      if (broadcasts(shape, v.shape())) return v;
    }
    Dims dims;
    for (int d = below(shape.rank() + 1); d < shape.rank(); ++d) dims.push_back(chance(25) ? 1 : shape[d]);
    return data(Shape(dims));
  }
  Tensor flags(const Tensor& like) {
    for (int tries = 0; tries < 10; ++tries) {
      const Tensor& v = one_of(pool_).tensor;
      if (v.dtype() == DType::bool_ && broadcasts(v.shape(), like.shape())) return v;
    }
    const Tensor x = data(like.shape());
    return chance(50) ? greater(x, 0.3) : less_equal(x, partner(x.shape(), true));
  }
  Tensor whole() {
    for (int tries = 0; tries < 10; ++tries) {
      const Tensor& v = one_of(pool_).tensor;
      if (is_integer(v.dtype())) return v;
    }
    return cast(value(true) * 3.0, chance(50) ? DType::i32 : DType::i64);
  }
  int axis(const Tensor& x) { return below(x.rank()) - (chance(50) ? x.rank() : 0); }

  void add(const Tensor& tensor, bool exact) {
    if (tensor.elements() > (allow_long_ ? 300000 : 20000)) return;
    const bool widened = is_floating(tensor.dtype()) && tensor.dtype() != real();  // losses of 16-bit floats
    pool_.push_back({widened ? cast(tensor, real()) : tensor, exact});
  }
  const std::vector<Value>& pool() const { return pool_; }
  const std::vector<Tensor>& leaves() const { return leaves_; }
  void allow_empty() { allow_empty_ = true; }
  void allow_long() { allow_long_ = true; }
  bool is_long() const { return allow_long_; }

  static bool broadcasts(const Shape& a, const Shape& b) {
    std::int64_t elements = 1;
    for (int d = 1; d <= std::max(a.rank(), b.rank()); ++d) {
      const std::int64_t m = d <= a.rank() ? a.dim(-d) : 1;
      const std::int64_t n = d <= b.rank() ? b.dim(-d) : 1;
      if (m != n && m != 1 && n != 1) return false;
      elements *= m == 1 ? n : m;
    }
    return elements <= 200000;
  }
  static Shape filled(const Shape& shape) {
    Dims dims(shape.dims().begin(), shape.dims().end());
    for (std::int64_t& d : dims) d = std::max<std::int64_t>(d, 1);
    return Shape(dims);
  }

 private:
  std::mt19937_64 random_;
  ProgramData& data_;
  std::vector<Value> pool_;
  std::vector<Tensor> leaves_;
  bool allow_empty_ = false;
  bool allow_long_ = false;
};

/// An op, or a few that belong together, of values that the program has so far.
struct RandomOp {
  Tensor (*record)(Recorder&);
  /// How often it comes.
  int weight = 1;
  /// Whether the result is exact.
  bool exact = false;
};

const std::vector<RandomOp>& random_ops();

}  // namespace wick::test
