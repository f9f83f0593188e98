#include "ops/lora_parts.h"

#include <gtest/gtest.h>

#include <cmath>

#include "op_harness.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double scale = 1.5;

Array draw(const Shape& shape, std::uint64_t seed, DType dtype) {
  std::mt19937_64 random(seed);
  const Draw number = uniform(-1, 1);
  Array array{shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i)
    array.values.push_back(number(random, static_cast<std::size_t>(i)));
  return rounded(array, dtype);
}

/// Several at once, which the optimiser joins, and each alone give the same as float64. A GPU divides large
/// ones over many blocks, both ways.
struct Case {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t rank;
  std::size_t members;
  DType x;
  DType factors;
};

std::string text_of(const Case& c) {
  return std::to_string(c.rows) + " rows of " + std::to_string(c.columns) + " " + std::string(name_of(c.x)) +
         ", " + std::to_string(c.members) + " of rank " + std::to_string(c.rank) + " in " +
         std::string(name_of(c.factors));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [x, factors] : {std::pair{DType::f32, DType::f32}, std::pair{DType::bf16, DType::f32},
                                   std::pair{DType::bf16, DType::bf16}})
    for (const Case& c : {Case{2, 1, 1, 2, x, factors}, Case{5, 33, 3, 3, x, factors},
                          Case{70, 896, 8, 2, x, factors}, Case{300, 40, 12, 2, x, factors},
                          Case{521, 300, 5, 4, x, factors}, Case{64, 256, 16, 1, x, factors}})
      all.push_back(c);
  for (const Case& c :
       {Case{8500, 24, 16, 3, DType::bf16, DType::f32}, Case{33, 2056, 24, 2, DType::bf16, DType::f32},
        Case{1, 8, 64, 2, DType::bf16, DType::f32}, Case{700, 1368, 8, 5, DType::bf16, DType::f32},
        Case{1500, 200, 11, 7, DType::bf16, DType::f32}})
    all.push_back(c);
  return all;
}

/// Sums of `terms` products of numbers below 1. In f32 they are wrong by their own rounding; a factor in f32
/// next to bf16 x is kept to 17 bits; a bf16 result is rounded once.
Tolerance tolerance(const Case& c, std::int64_t terms) {
  const double spread = std::sqrt(static_cast<double>(terms));
  if (c.factors == DType::bf16) return {1.6e-2, 1e-5 * spread};
  return {1.3e-6, (c.x == DType::bf16 ? 1e-5 : 2e-6) * (1 + spread)};
}

/// Evaluates the results of all members together, then each alone.
void expect_results(const Case& c, const std::function<Tensor(std::size_t member)>& record,
                    const std::function<Array(std::size_t member)>& reference,
                    const std::function<std::int64_t(std::size_t member)>& terms) {
  std::vector<Tensor> together;
  for (std::size_t m = 0; m < c.members; ++m) together.push_back(record(m));
  eval(together);
  for (std::size_t m = 0; m < c.members; ++m) {
    const Array expected = reference(m);
    expect_close(together[m], expected, tolerance(c, terms(m)), text_of(c) + ", together");
    expect_close(record(m), expected, tolerance(c, terms(m)), text_of(c) + ", alone");
  }
}

/// Every third member reads an x of its own, of another depth.
TEST(LoraParts, ProjectionsMatchFloat64) {
  for (const Case& c : cases())
    for (bool transposed : {false, true}) {
      const auto depth_of = [&](std::size_t m) { return m % 3 == 2 ? c.columns * 8 : c.columns; };
      const Array common = draw({c.rows, c.columns}, 1, c.x);
      const Tensor of_common = make_tensor(common, c.x);
      std::vector<Array> own;
      std::vector<Tensor> of_own;
      std::vector<Array> factors;
      for (std::size_t m = 0; m < c.members; ++m) {
        own.push_back(m % 3 == 2 ? draw({c.rows, depth_of(m)}, 50 + m, c.x) : Array{});
        of_own.push_back(m % 3 == 2 ? make_tensor(own[m], c.x) : of_common);
        const std::int64_t depth = depth_of(m);
        factors.push_back(draw(transposed ? Shape{depth, c.rank} : Shape{c.rank, depth}, 2 + m, c.factors));
      }
      expect_results(
          c,
          [&](std::size_t m) {
            return lora_projection(of_own[m], make_tensor(factors[m], c.factors), scale, transposed);
          },
          [&](std::size_t m) {
            const Array& x = m % 3 == 2 ? own[m] : common;
            const std::int64_t depth = depth_of(m);
            Array result{{c.rows, c.rank}, {}};
            for (std::int64_t i = 0; i < c.rows; ++i)
              for (std::int64_t r = 0; r < c.rank; ++r) {
                double sum = 0;
                for (std::int64_t k = 0; k < depth; ++k)
                  sum += x.values[static_cast<std::size_t>(i * depth + k)] *
                         factors[m]
                             .values[static_cast<std::size_t>(transposed ? k * c.rank + r : r * depth + k)];
                result.values.push_back(scale * sum);
              }
            return result;
          },
          depth_of);
    }
}

/// Of a size that a GPU computes as one step.
TEST(LoraParts, SumsOfUpdatesMatchFloat64) {
  constexpr std::int64_t rows = 4100;
  constexpr std::int64_t columns = 904;
  constexpr std::int64_t rank = 3;
  for (DType dtype : {DType::f32, DType::bf16})
    for (std::size_t with_factors : {std::size_t{3}, std::size_t{2}}) {
      Array expected{{rows, columns}, std::vector<double>(static_cast<std::size_t>(rows * columns), 0)};
      std::uint64_t seed = 1;
      const auto add_product = [&](std::int64_t depth, DType of_factors) {
        const Array left = draw({rows, depth}, seed++, of_factors);
        const Array right = draw({depth, columns}, seed++, of_factors);
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t k = 0; k < depth; ++k)
            for (std::int64_t column = 0; column < columns; ++column)
              expected.values[static_cast<std::size_t>(row * columns + column)] +=
                  left.values[static_cast<std::size_t>(row * depth + k)] *
                  right.values[static_cast<std::size_t>(k * columns + column)];
        return std::pair{make_tensor(left, of_factors), make_tensor(right, of_factors)};
      };
      Tensor sum;
      std::size_t member = 0;
      for (std::int64_t depth : {8, 16, 8}) {
        const auto [x, weight] = add_product(depth, dtype);
        Tensor y;
        if (member++ < with_factors) {
          const auto [t, b] = add_product(rank, DType::f32);
          y = lora_update(x, weight, {}, t, b, true);
        } else {
          y = matmul(x, weight);
        }
        sum = sum.defined() ? sum + y : y;
      }
      // Terms of up to 5 are each rounded to bf16 where they are not one step, and factors once.
      const Tolerance allowed = dtype == DType::f32 ? Tolerance{1.3e-6, 2e-5} : Tolerance{1.6e-2, 4e-2};
      expect_close(sum, expected, allowed, std::string(name_of(dtype)));
    }
}

/// Odd members are transposed, and read another x than even ones, whose rows do not lie one behind the other.
TEST(LoraParts, GradientsMatchFloat64) {
  for (const Case& c : cases()) {
    const Array even = draw({c.rows, c.columns}, 1, c.x);
    const std::int64_t more = c.columns % 8 == 0 ? 8 : 1;
    const Array odd = draw({c.columns + more, c.rows}, 2, c.x);  // lies by columns
    const Tensor of_even = make_tensor(even, c.x);
    const Tensor of_odd = transpose(make_tensor(odd, c.x));
    std::vector<Array> low;
    for (std::size_t m = 0; m < c.members; ++m) low.push_back(draw({c.rows, c.rank}, 3 + m, c.factors));
    expect_results(
        c,
        [&](std::size_t m) {
          return lora_gradient(m % 2 != 0 ? of_odd : of_even, make_tensor(low[m], c.factors), m % 2 != 0);
        },
        [&](std::size_t m) {
          const bool is_odd = m % 2 != 0;
          const std::int64_t columns = c.columns + (is_odd ? more : 0);
          Array result{is_odd ? Shape{c.rank, columns} : Shape{columns, c.rank}, {}};
          result.values.assign(static_cast<std::size_t>(columns * c.rank), 0);
          for (std::int64_t i = 0; i < c.rows; ++i)
            for (std::int64_t k = 0; k < columns; ++k)
              for (std::int64_t r = 0; r < c.rank; ++r)
                result.values[static_cast<std::size_t>(is_odd ? r * columns + k : k * c.rank + r)] +=
                    (is_odd ? odd.values[static_cast<std::size_t>(k * c.rows + i)]
                            : even.values[static_cast<std::size_t>(i * columns + k)]) *
                    low[m].values[static_cast<std::size_t>(i * c.rank + r)];
          return result;
        },
        [&](std::size_t) { return c.rows; });
  }
}

}  // namespace
}  // namespace wick::test
