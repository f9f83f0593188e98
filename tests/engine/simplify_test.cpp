#include "optimize/simplify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "optimize/dead_nodes.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/optimize.h"

namespace wick {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Inputs of the cases below: x and y are f32 [2, 3], h is f16, i and j are i32, b is bool.
struct Data {
  Tensor x;
  Tensor y;
  Tensor h;
  Tensor i;
  Tensor j;
  Tensor b;
};

Data data() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto big = std::numeric_limits<std::int32_t>::max();
  Data d;
  d.x = Tensor::from(std::vector<float>{-0.0f, 0.0f, nan, inf, -inf, 1.7e-38f}, {2, 3});
  d.y = Tensor::from(std::vector<float>{1.5f, -0.0f, 2.0f, nan, 3.4e38f, -7.25f}, {2, 3});
  d.h = cast(Tensor::from(std::vector<float>{0.1f, -0.0f, nan, inf, 65504.0f, 6e-8f}, {2, 3}), DType::f16)
            .eval();
  d.i = Tensor::from(std::vector<std::int32_t>{0, -1, 7, big, -big - 1, 123456789}, {2, 3});
  d.j = Tensor::from(std::vector<std::int32_t>{3, 0, -5, 2, 1, -1}, {2, 3});
  d.b = greater(Tensor::from(std::vector<float>{0, 1, 0, 1, 1, 0}, {2, 3}), 0.5);
  d.b.eval();
  return d;
}

struct Case {
  const char* name;
  Tensor (*expression)(const Data& d);
  /// What is left to compute, as `print` writes it, without numbers and leaves: "square, add".
  const char* ops;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string ops_of(const Graph& graph) {
  std::string text;
  for (const GraphNode& node : graph.nodes)
    if (node.op) text += (text.empty() ? "" : ", ") + std::string(node.op->name);
  return text;
}

/// Elements as bytes, with every NaN the same: which NaN an operation gives is the processor's choice.
std::string bits_of(const Tensor& result) {
  result.eval();
  if (is_floating(result.dtype())) {
    std::vector<double> numbers = cast(result, DType::f64).to_vector<double>();
    for (double& v : numbers)
      if (std::isnan(v)) v = std::numeric_limits<double>::quiet_NaN();
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double)};
  }
  const std::vector<std::int64_t> numbers = cast(result, DType::i64).to_vector<std::int64_t>();
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)};
}

class Simplify : public ::testing::TestWithParam<Case> {};

TEST_P(Simplify, LeavesWhatIsNeeded) {
  const Graph before = test::graph_of({GetParam().expression(data())});
  const Graph after = eliminate_dead_nodes(simplify(before, test::pass_context()), test::pass_context());
  verify(after, "simplify");
  EXPECT_EQ(ops_of(after), GetParam().ops) << print(before) << print(after);
}

TEST_P(Simplify, KeepsEveryBit) {
  const Data d = data();
  const std::string with = bits_of(GetParam().expression(d));
  const DisablePassesScope scope({"simplify"});
  EXPECT_EQ(with, bits_of(GetParam().expression(d)));
}

Tensor wide(const Tensor& x) { return cast(x, DType::f32); }
Tensor shaped(const Tensor& x, std::vector<std::int64_t> dims) { return reshape(x, dims); }

const Case cases[] = {
    {"plus_zero_float_stays", [](const Data& d) { return d.x + 0; }, "constant, add"},
    {"plus_zero_of_squares", [](const Data& d) { return square(d.x) + 0; }, "square"},
    {"plus_minus_zero", [](const Data& d) { return d.x + -0.0; }, ""},
    {"plus_zero_integer", [](const Data& d) { return 0 + d.i; }, ""},
    {"minus_zero", [](const Data& d) { return d.x - 0; }, ""},
    {"zero_minus_stays", [](const Data& d) { return 0 - d.x; }, "constant, sub"},
    {"minus_itself_float_stays", [](const Data& d) { return d.x - d.x; }, "sub"},
    {"minus_itself_integer", [](const Data& d) { return d.i - d.i; }, "constant, broadcast_to"},
    {"plus_negated", [](const Data& d) { return d.x + -d.y; }, "sub"},
    {"negated_plus", [](const Data& d) { return -d.x + d.y; }, "sub"},
    {"minus_negated", [](const Data& d) { return d.x - -d.y; }, "add"},
    {"integers_added_at_once", [](const Data& d) { return (d.i + 5) + 7; }, "constant, add"},
    {"floats_not_added_at_once", [](const Data& d) { return (d.x + 5) + 7; }, "constant, add, constant, add"},
    {"times_one", [](const Data& d) { return 1 * d.x; }, ""},
    {"times_one_stretched",
     [](const Data& d) {
       return slice(d.x, 0, 0, 1) * ones({2, 3});
     },
     "slice, broadcast_to"},
    {"times_minus_one", [](const Data& d) { return d.x * -1; }, "neg"},
    {"times_minus_one_integer", [](const Data& d) { return -1 * d.j; }, "neg"},
    {"times_zero_float_stays", [](const Data& d) { return d.x * 0; }, "constant, mul"},
    {"times_zero_integer", [](const Data& d) { return d.i * 0; }, "constant, broadcast_to"},
    {"times_itself", [](const Data& d) { return d.x * d.x; }, "square"},
    {"negated_factors", [](const Data& d) { return -d.x * -d.y; }, "mul"},
    {"powers_of_two", [](const Data& d) { return (d.y * 4) * 8; }, "constant, mul"},
    {"powers_of_two_down_stay", [](const Data& d) { return (d.x * 0.25) * 0.5; },
     "constant, mul, constant, mul"},
    {"powers_of_two_up_and_down_stay", [](const Data& d) { return (d.y * 4) * 0.25; },
     "constant, mul, constant, mul"},
    {"integers_scaled_at_once", [](const Data& d) { return (d.i * 3) * 5; }, "constant, mul"},
    {"over_one", [](const Data& d) { return d.x / 1; }, ""},
    {"over_a_power_of_two", [](const Data& d) { return d.x / 8; }, "constant, mul"},
    {"over_three_stays", [](const Data& d) { return d.x / 3; }, "constant, div"},
    {"negated_quotient", [](const Data& d) { return -d.x / -d.y; }, "div"},
    {"reciprocal_root", [](const Data& d) { return 1 / sqrt(d.y); }, "rsqrt"},
    {"to_the_power_0", [](const Data& d) { return pow(d.x, 0); }, "constant, broadcast_to"},
    {"to_the_power_1", [](const Data& d) { return pow(d.x, 1); }, ""},
    {"to_the_power_2", [](const Data& d) { return pow(d.i, 2); }, "square"},
    {"to_the_power_half_stays", [](const Data& d) { return pow(d.x, 0.5); }, "constant, pow"},
    {"to_the_power_minus_1", [](const Data& d) { return pow(d.x, -1); }, "constant, div"},
    {"negated_twice", [](const Data& d) { return -(-d.x); }, ""},
    {"absolute_negated", [](const Data& d) { return abs(-abs(abs(d.x))); }, "abs"},
    {"square_negated", [](const Data& d) { return square(-d.x); }, "square"},
    {"square_absolute", [](const Data& d) { return square(abs(d.i)); }, "square"},
    {"maximum_of_one", [](const Data& d) { return maximum(d.x, d.x); }, ""},
    {"minimum_of_one", [](const Data& d) { return minimum(d.x, d.x); }, ""},
    {"no_upper_limit", [](const Data& d) { return minimum(d.x, infinity); }, ""},
    {"no_lower_limit", [](const Data& d) { return maximum(-infinity, d.x); }, ""},

    {"not_not", [](const Data& d) { return logical_not(logical_not(d.b)); }, ""},
    {"not_not_of_numbers_stays", [](const Data& d) { return logical_not(logical_not(d.x)); },
     "logical_not, logical_not"},
    {"not_equal", [](const Data& d) { return logical_not(equal(d.x, d.y)); }, "not_equal"},
    {"not_less_stays", [](const Data& d) { return logical_not(less(d.x, d.y)); }, "less, logical_not"},
    {"and_itself", [](const Data& d) { return logical_and(d.b, d.b); }, ""},
    {"where_equal_branches", [](const Data& d) { return where(d.b, d.x, d.x); }, ""},
    {"where_not", [](const Data& d) { return where(logical_not(d.b), d.x, d.y); }, "where"},
    {"where_twice", [](const Data& d) { return where(greater(d.y, 1), where(d.b, d.x, -1.0), -1.0); },
     "constant, greater, constant, logical_and, where"},
    {"where_with_two_numbers_stays",
     [](const Data& d) { return where(greater(d.y, 1), where(d.b, d.x, -1.0), 2.0); },
     "constant, greater, constant, where, constant, where"},
    {"where_true", [](const Data& d) { return where(full({}, 1, DType::bool_), d.x, d.y); }, ""},
    {"where_false", [](const Data& d) { return where(full({3}, 0, DType::bool_), d.x, d.y); }, ""},

    {"widened_and_back", [](const Data& d) { return cast(cast(d.h, DType::f32), DType::f16); }, ""},
    {"narrowed_and_back_stays", [](const Data& d) { return wide(cast(d.x, DType::bf16)); }, "cast, cast"},
    {"f16_through_bf16_stays", [](const Data& d) { return cast(cast(d.h, DType::bf16), DType::f16); },
     "cast, cast"},
    {"widened_twice", [](const Data& d) { return cast(wide(d.h), DType::f64); }, "cast"},
    {"i32_through_f64", [](const Data& d) { return cast(cast(d.i, DType::f64), DType::i32); }, ""},
    {"i32_through_f32_stays", [](const Data& d) { return cast(cast(d.i, DType::f32), DType::i32); },
     "cast, cast"},
    {"bool_through_i32", [](const Data& d) { return cast(cast(d.b, DType::i32), DType::f32); }, "cast"},

    {"stop_gradient", [](const Data& d) { return stop_gradient(d.x); }, ""},
    {"reshape_of_reshape",
     [](const Data& d) {
       return shaped(shaped(d.x, {6}), {3, 2});
     },
     "reshape"},
    {"reshape_and_back",
     [](const Data& d) {
       return shaped(shaped(d.x, {6}), {2, 3});
     },
     ""},
    {"transpose_of_transpose", [](const Data& d) { return transpose(transpose(d.x)); }, ""},
    {"permute_of_permute",
     [](const Data& d) {
       return permute(permute(shaped(d.x, {1, 2, 3}), {2, 0, 1}), {2, 0, 1});
     },
     "reshape, permute"},
    {"broadcast_of_broadcast",
     [](const Data& d) {
       return broadcast_to(broadcast_to(d.x, {4, 2, 3}), {5, 4, 2, 3});
     },
     "broadcast_to"},
    {"slice_of_slice", [](const Data& d) { return slice(slice(shaped(d.x, {6}), 0, 1, 6), 0, 1, 4); },
     "reshape, slice"},
    {"slice_of_slice_backwards",
     [](const Data& d) { return slice(slice(shaped(d.x, {6}), 0, -1, -7, -1), 0, 1, 6, 2); },
     "reshape, slice"},
    {"slice_and_back", [](const Data& d) { return slice(slice(d.x, 1, -1, -4, -1), 1, -1, -4, -1); }, ""},
    {"slice_of_other_axis_stays", [](const Data& d) { return slice(slice(d.x, 0, 1, 2), 1, 1, 2); },
     "slice, slice"},
    {"slice_of_concat",
     [](const Data& d) {
       return slice(concat({d.x, d.y}, 0), 0, 3, 4);
     },
     "slice"},
    {"whole_part_of_concat",
     [](const Data& d) {
       return slice(concat({d.x, d.y}, 1), 1, 3, 6);
     },
     ""},
    {"slice_across_parts_stays",
     [](const Data& d) {
       return slice(concat({d.x, d.y}, 0), 0, 1, 3);
     },
     "concat, slice"},
    {"slice_of_pad", [](const Data& d) { return slice(pad(d.x, 1, 2, 1), 1, 2, 5); }, ""},
    {"slice_into_padding_stays", [](const Data& d) { return slice(pad(d.x, 1, 2, 1), 1, 1, 5); },
     "pad, slice"},
    {"concat_of_one", [](const Data& d) { return concat({d.x}, 0); }, ""},
    {"pad_by_nothing", [](const Data& d) { return pad(d.x, 0, 0, 0); }, ""},
    {"before_broadcast",
     [](const Data& d) {
       return exp(broadcast_to(d.y, {100, 2, 3}));
     },
     "exp, broadcast_to"},
    {"broadcast_by_the_op",
     [](const Data& d) {
       return d.x * broadcast_to(slice(d.y, 0, 0, 1), {2, 3});
     },
     "slice, mul"},
    {"broadcast_that_is_needed_stays",
     [](const Data& d) {
       return slice(d.x, 0, 0, 1) * broadcast_to(slice(d.y, 0, 0, 1), {2, 3});
     },
     "slice, slice, broadcast_to, mul"},
    {"before_reshape", [](const Data& d) { return (shaped(d.x, {6}) + shaped(d.y, {6})) * 3; },
     "add, constant, mul, reshape"},
    {"reshape_of_one_operand_stays",
     [](const Data& d) {
       return shaped(d.x, {1, 6}) + ones({6}) * shaped(d.y, {6});
     },
     "reshape, reshape, add"},
};

INSTANTIATE_TEST_SUITE_P(Rules, Simplify, ::testing::ValuesIn(cases),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(SimplifyRules, EmptyTensorsAndGradientsGoThrough) {
  test::expect_same_results("simplify", [] {
    const Tensor x = test::normal({3, 0, 2});
    return std::vector<Tensor>{reshape(exp(reshape(x, {0, 6})) * 1, {2, 0, 3}), sum(x * x) / 4};
  });
}

TEST(SimplifyRules, ACubeIsRoundedTwice) {
  test::expect_same_results("simplify", [] {
    const Tensor x = test::normal({1000});
    return std::vector<Tensor>{pow(x, 3), pow(cast(x, DType::f64), 3), pow(cast(x, DType::bf16), 3)};
  });
}

}  // namespace
}  // namespace wick
