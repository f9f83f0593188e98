#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "op_harness.h"
#include "ops/lora_parts.h"
#include "wick/eval.h"
#include "wick/ops.h"

// What layers with adapters compute, y = x W^T + t B^T + bias with t = s x A^T, and sums of such, which a GPU
// may compute as one step; against float64.
namespace wick::test {
namespace {

constexpr double scale = 1.5;

/// How a matrix lies in memory: row by row, so behind a row that is not part of it, or column by column.
enum class Lies { by_rows, behind_a_row, by_columns };

enum class Low { projected, given, none };

struct Member {
  std::int64_t depth;
  std::int64_t rank;
  Low low = Low::projected;
};

struct Case {
  std::int64_t rows;
  std::int64_t columns;
  bool transposed;
  bool bias;
  std::vector<Member> members;
  Lies lies = Lies::by_rows;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.columns << (c.transposed ? ", transposed" : "") << (c.bias ? ", biased" : "")
       << (c.lies == Lies::by_rows      ? ""
           : c.lies == Lies::by_columns ? ", by columns"
                                        : ", behind a row");
  for (const Member& m : c.members)
    *out << ", depth " << m.depth << " of rank " << m.rank
         << (m.low == Low::given  ? " given"
             : m.low == Low::none ? " left out"
                                  : "");
}

Array draw(const Shape& shape, std::uint64_t seed, double most, DType dtype) {
  std::mt19937_64 random(seed);
  const Draw number = uniform(-most, most);
  Array array{shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i)
    array.values.push_back(number(random, static_cast<std::size_t>(i)));
  return rounded(array, dtype);
}

double at(const Array& matrix, std::int64_t row, std::int64_t column) {
  return matrix.values[static_cast<std::size_t>(row * matrix.shape[1] + column)];
}

Array flipped(const Array& matrix) {
  Array result{{matrix.shape[1], matrix.shape[0]}, {}};
  for (std::int64_t column = 0; column < matrix.shape[1]; ++column)
    for (std::int64_t row = 0; row < matrix.shape[0]; ++row) result.values.push_back(at(matrix, row, column));
  return result;
}

/// Adds factor * left right, of [n, k] and [k, m].
void add_product(Array& sum, double factor, const Array& left, const Array& right) {
  const std::int64_t columns = right.shape[1];
  for (std::int64_t row = 0; row < left.shape[0]; ++row)
    for (std::int64_t k = 0; k < left.shape[1]; ++k) {
      const double times = factor * at(left, row, k);
      const double* const from = right.values.data() + k * columns;
      double* const to = sum.values.data() + row * columns;
      for (std::int64_t column = 0; column < columns; ++column) to[column] += times * from[column];
    }
}

Array zeros_of(const Shape& shape) {
  return {shape, std::vector<double>(static_cast<std::size_t>(shape.elements()), 0)};
}

Tensor tensor_that(Lies lies, const Array& matrix, DType dtype) {
  switch (lies) {
    case Lies::by_rows: break;
    case Lies::by_columns: return transpose(make_tensor(flipped(matrix), dtype));
    case Lies::behind_a_row: {
      Array longer{{matrix.shape[0] + 1, matrix.shape[1]},
                   std::vector<double>(static_cast<std::size_t>(matrix.shape[1]),
                                       std::numeric_limits<double>::quiet_NaN())};
      longer.values.insert(longer.values.end(), matrix.values.begin(), matrix.values.end());
      return slice(make_tensor(longer, dtype), 0, 1, longer.shape[0]);
    }
  }
  return make_tensor(matrix, dtype);
}

/// A case's tensors, and what is to come out.
struct Problem {
  Problem(const Case& c, DType dtype) : expected(zeros_of({c.rows, c.columns})) {
    std::uint64_t seed = 1;
    // Of [in, out], which the layer keeps as [out, in] where it is not transposed.
    const auto kept = [&](const Array& matrix, DType of) {
      return tensor_that(c.lies, c.transposed ? matrix : flipped(matrix), of);
    };
    for (const Member& m : c.members) {
      const double small = 1 / std::sqrt(static_cast<double>(m.depth));
      const Array x = draw({c.rows, m.depth}, seed++, 1, dtype);
      const Array weight = draw({m.depth, c.columns}, seed++, small, dtype);
      add_product(expected, 1, x, weight);
      const Tensor x_there = tensor_that(c.lies, x, dtype);
      const Tensor weight_there = kept(weight, dtype);
      Tensor y;
      if (m.low == Low::none) {
        y = c.transposed ? matmul(x_there, weight_there) : linear(x_there, weight_there);
      } else {
        const Array b = draw({m.rank, c.columns}, seed++, 0.5, DType::f32);
        Array t = zeros_of({c.rows, m.rank});
        Tensor t_there;
        if (m.low == Low::projected) {
          const Array a = draw({m.depth, m.rank}, seed++, small, DType::f32);
          add_product(t, scale, x, a);
          t_there = lora_projection(x_there, kept(a, DType::f32), scale, c.transposed);
          projections.push_back(t_there);
          expected_projections.push_back(t);
        } else {
          t = draw(t.shape, seed++, 1, DType::f32);
          t_there = tensor_that(c.lies, t, DType::f32);
        }
        add_product(expected, 1, t, b);
        Tensor bias;
        if (c.bias) {
          const Array values = draw({1, c.columns}, seed++, 1, dtype);
          add_product(expected, 1, {{c.rows, 1}, std::vector<double>(static_cast<std::size_t>(c.rows), 1)},
                      values);
          bias = reshape(make_tensor(values, dtype), {c.columns});
        }
        y = lora_update(x_there, weight_there, bias, t_there, kept(b, DType::f32), c.transposed);
      }
      sum = sum.defined() ? sum + y : y;
    }
  }
  Tensor sum;
  Array expected;
  std::vector<Tensor> projections;
  std::vector<Array> expected_projections;
};

class LoraUpdates : public testing::TestWithParam<Case> {};

/// With the projections as results, and without.
TEST_P(LoraUpdates, MatchFloat64) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    // A bf16 result is rounded once, and products and factors of up to 4 are where they are not one step.
    const Tolerance of_sum = dtype == DType::f32 ? Tolerance{1.3e-6, 1e-5} : Tolerance{1.6e-2, 4e-2};
    const std::string name(name_of(dtype));
    const Problem alone(GetParam(), dtype);
    expect_close(alone.sum, alone.expected, of_sum, name);
    const Problem both(GetParam(), dtype);
    std::vector<Tensor> all = both.projections;
    all.push_back(both.sum);
    eval(all);
    expect_close(both.sum, both.expected, of_sum, name + " with its projections");
    for (std::size_t m = 0; m < both.projections.size(); ++m)
      // Sums of numbers below 1 in f32; next to bf16 activations a factor is kept to 17 bits.
      expect_close(both.projections[m], both.expected_projections[m], {1.3e-6, 1e-5},
                   name + ", projection " + std::to_string(m));
  }
}

std::vector<Case> of_every_rank() {
  std::vector<Case> cases;
  for (std::int64_t rank = 1; rank <= 16; ++rank)
    cases.push_back({65 + 2 * rank, 40, rank % 2 == 0, rank % 3 == 0, {{72, rank}}});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Ranks, LoraUpdates, testing::ValuesIn(of_every_rank()));

INSTANTIATE_TEST_SUITE_P(
    Layers, LoraUpdates,
    testing::Values(Case{64, 1024, false, false, {{1024, 8}}}, Case{64, 1024, true, false, {{1024, 8}}},
                    Case{1, 8, false, true, {{8, 1}}}, Case{127, 904, false, true, {{200, 16}}},
                    Case{257, 232, true, true, {{640, 5}}}, Case{4099, 136, false, true, {{200, 16}}},
                    Case{4099, 136, true, false, {{904, 12}}}, Case{1029, 8, true, false, {{520, 3}}},
                    Case{70, 1032, false, false, {{72, 8}}}, Case{70, 40, false, true, {{72, 24}}},
                    Case{70, 40, true, false, {{72, 8, Low::given}}}));

INSTANTIATE_TEST_SUITE_P(Views, LoraUpdates,
                         testing::Values(Case{129, 232, false, true, {{136, 5}}, Lies::behind_a_row},
                                         Case{129, 232, true, false, {{136, 8}}, Lies::behind_a_row},
                                         Case{129, 232, true, true, {{136, 3}}, Lies::behind_a_row},
                                         Case{129, 232, false, false, {{136, 16}}, Lies::by_columns},
                                         Case{129, 232, true, true, {{136, 7}}, Lies::by_columns}));

/// Of so many rows that a GPU of 132 multiprocessors computes a sum as one step.
INSTANTIATE_TEST_SUITE_P(
    Sums, LoraUpdates,
    testing::Values(Case{3181, 904, true, false, {{8, 16}, {24, 16}}},
                    Case{3181, 904, true, false, {{24, 7}, {8, 1}, {16, 16}}},
                    Case{3181, 904, false, false, {{16, 4}, {8, 16}, {8, 9}}},
                    Case{3181, 904, true, false, {{16, 16}, {8, 16}, {40, 0, Low::none}}},
                    Case{3181, 904, true, false, {{72, 8}, {8, 0, Low::none}}},
                    Case{3181, 904, true, false, {{8, 3, Low::given}, {24, 8}}},
                    Case{3181, 904, true, false, {{16, 5}, {8, 24, Low::given}}, Lies::behind_a_row}));

}  // namespace
}  // namespace wick::test
