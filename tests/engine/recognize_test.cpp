#include "optimize/recognize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optimize/print.h"
#include "optimize/simplify.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;

Graph recognized(const std::vector<Tensor>& outputs) {
  Graph graph = recognize(simplify(test::graph_of(outputs), test::pass_context()), test::pass_context());
  verify(graph, "recognize");
  return graph;
}

/// The same node at every call.
const Tensor& x32() {
  static const Tensor x = normal({6, 10});
  return x;
}
const Tensor& x16() {
  static const Tensor x = normal({6, 10}, DType::bf16);
  return x;
}
Tensor row(std::uint64_t seed) { return normal({10}, DType::f32, seed); }
Tensor wide(const Tensor& x) { return cast(x, DType::f32); }
Tensor narrow(const Tensor& x) { return cast(x, DType::bf16); }

Tensor softmax_of(const Tensor& x, int axis = -1) {
  const Tensor e = exp(x - max(x, {axis}, true));
  return e / sum(e, {axis}, true);
}
Tensor log_softmax_of(const Tensor& x) {
  const Tensor shifted = x - max(x, {-1}, true);
  return shifted - log(sum(exp(shifted), {-1}, true));
}
Tensor rms_norm_of(const Tensor& x) { return x * rsqrt(mean(x * x, {-1}, true) + 1e-5); }
Tensor layer_norm_of(const Tensor& x) {
  const Tensor centered = x - mean(x, {-1}, true);
  return centered / sqrt(mean(square(centered), {-1}, true) + 1e-5);
}
Tensor gelu_tanh_of(const Tensor& x) {
  return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * pow(x, 3))));
}

Tensor weight() { return normal({8, 10}, DType::f32, 2); }
Tensor bias() { return normal({8}, DType::f32, 3); }
Tensor factor_a() { return normal({2, 10}, DType::f32, 4); }
Tensor factor_b() { return normal({8, 2}, DType::f32, 5); }
Tensor product(const Tensor& x, const Tensor& w) { return matmul(x, transpose(w)); }

struct Heads {
  Tensor q = normal({2, 3, 5, 4}, DType::f32, 6);
  Tensor k = normal({2, 3, 7, 4}, DType::f32, 7);
  Tensor v = normal({2, 3, 7, 4}, DType::f32, 8);
  Tensor scores() const { return matmul(q, transpose(k)) * 0.5; }
};
const Heads& heads() {
  static const Heads made;
  return made;
}
constexpr double lowest = -std::numeric_limits<double>::infinity();
/// How far behind a query each key lies, when the last query sees all of them.
Tensor distances() { return expand_dims(arange(5), 1) + 2 - arange(7); }

Tensor loss_of(const Tensor& logits, const Tensor& targets) {
  return neg(mean(squeeze(take_along_axis(log_softmax_of(logits), expand_dims(targets, -1), -1), -1)));
}
Tensor targets() { return Tensor::from(std::vector<std::int64_t>{0, 7, 3, -1, 2, 5}, {6}); }

struct Case {
  const char* name;
  const char* op;
  Tensor (*expression)();
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Recognized : public ::testing::TestWithParam<Case> {};

TEST_P(Recognized, BecomesOneOp) {
  const Graph graph = recognized({GetParam().expression()});
  EXPECT_EQ(test::count_op(graph, GetParam().op), 1u) << print(graph);
}

// A composite rounds a 16-bit result once; plain ops round every term, and terms may cancel.
TEST_P(Recognized, GivesTheSameNumbers) {
  const double factor = GetParam().expression().dtype() == DType::bf16 ? 4 : 1;
  test::expect_same_results(
      "recognize", [] { return std::vector<Tensor>{GetParam().expression()}; }, factor);
}

const Case recognized_cases[] = {
    {"softmax", "softmax", [] { return softmax_of(x32()); }},
    {"softmax_of_another_axis", "softmax", [] { return softmax_of(x32(), 0); }},
    {"softmax_by_reshapes", "softmax",
     [] {
       const Tensor e = exp(x32() - expand_dims(max(x32(), {1}), 1));
       return e / expand_dims(sum(e, {1}), 1);
     }},
    {"softmax_narrow", "softmax", [] { return narrow(softmax_of(wide(x16()))); }},
    {"log_softmax", "log_softmax", [] { return log_softmax_of(x32()); }},
    {"rms_norm", "rms_norm", [] { return rms_norm_of(x32()); }},
    {"rms_norm_by_division", "rms_norm", [] { return x32() / sqrt(mean(square(x32()), {-1}, true) + 1e-5); }},
    {"rms_norm_of_a_sum", "rms_norm",
     [] { return x32() * rsqrt(sum(pow(x32(), 2), {-1}, true) / 10 + 1e-5) * row(1); }},
    {"rms_norm_weighted", "rms_norm", [] { return row(1) * rms_norm_of(x32()); }},
    {"rms_norm_narrow", "rms_norm", [] { return narrow(row(1)) * narrow(rms_norm_of(wide(x16()))); }},
    {"layer_norm", "layer_norm", [] { return layer_norm_of(x32()); }},
    {"layer_norm_full", "layer_norm", [] { return layer_norm_of(x32()) * row(1) + row(2); }},
    {"sigmoid", "sigmoid", [] { return 1 / (1 + exp(-x32())); }},
    {"silu", "silu", [] { return x32() * sigmoid(x32()); }},
    {"silu_by_division", "silu", [] { return x32() / (1 + exp(-x32())); }},
    {"swiglu", "swiglu",
     [] {
       return x32() / (1 + exp(-x32())) * normal({6, 10}, DType::f32, 9);
     }},
    {"gelu", "gelu", [] { return 0.5 * x32() * (1 + erf(x32() / std::sqrt(2.0))); }},
    {"gelu_halved_last", "gelu", [] { return x32() * (1 + erf(x32() * 0.70710678)) * 0.5; }},
    {"gelu_tanh", "gelu_tanh", [] { return gelu_tanh_of(x32()); }},
    {"gelu_tanh_by_products", "gelu_tanh",
     [] {
       const Tensor x = x32();
       return x * 0.5 * (1 + tanh(0.79788456 * (x + 0.044715 * x * x * x)));
     }},
    {"gelu_tanh_factored", "gelu_tanh",
     [] {
       const Tensor x = x32();
       return x * (0.5 * (1 + tanh(0.79788456 * (x * (1 + 0.044715 * (x * x))))));
     }},
    {"linear", "linear", [] { return product(x32(), weight()); }},
    {"linear_biased", "linear", [] { return product(x32(), weight()) + bias(); }},
    {"linear_of_batches", "linear",
     [] {
       return product(reshape(x32(), {2, 3, 10}), weight()) + bias();
     }},
    {"linear_narrow_weight", "linear", [] { return product(x32(), wide(narrow(weight()).eval())); }},
    {"lora", "lora_linear",
     [] { return product(x32(), weight()) + 0.5 * product(product(x32(), factor_a()), factor_b()); }},
    {"lora_biased", "lora_linear",
     [] {
       return product(x32(), weight()) + bias() + product(product(x32(), factor_a()) * 0.5, factor_b());
     }},
    {"lora_of_linears", "lora_linear",
     [] {
       const Tensor x = reshape(x32(), {2, 3, 10});
       return linear(x, weight()) + linear(linear(x, factor_a()), factor_b());
     }},
    {"lora_of_batches", "lora_linear",
     [] {
       const Tensor x = reshape(x32(), {2, 3, 10});
       return product(x, weight()) + product(product(x, factor_a()), factor_b()) * 0.5;
     }},
    {"lora_wide_adapter", "lora_linear",
     [] {
       // All positive: the plain ops round both terms, and where those cancel that is no small part of the
       // sum.
       const Tensor x = abs(x16()).eval();
       const Tensor delta = product(product(wide(x), abs(factor_a()).eval()), abs(factor_b()).eval()) * 0.5;
       return product(x, narrow(abs(weight())).eval()) + narrow(delta);
     }},
    {"attention", "attention", [] { return matmul(softmax_of(heads().scores()), heads().v); }},
    {"attention_over_a_root", "attention",
     [] {
       const Heads& h = heads();
       return matmul(softmax(matmul(h.q, transpose(h.k)) / std::sqrt(3.0)), h.v);
     }},
    {"attention_scaled_early", "attention",
     [] {
       const Heads& h = heads();
       return matmul(softmax(matmul(h.q * 0.3, transpose(h.k))), h.v);
     }},
    {"attention_of_split_heads", "attention",
     [] {
       const auto split = [](const Tensor& x) { return permute(reshape(x, {2, 5, 3, 4}), {0, 2, 1, 3}); };
       const Tensor q = normal({2, 5, 12}, DType::f32, 6);
       const Tensor k = normal({2, 5, 12}, DType::f32, 7);
       return matmul(softmax(matmul(split(q), transpose(split(k))) * 0.5), split(normal({2, 5, 12})));
     }},
    {"attention_causal", "attention",
     [] {
       return matmul(softmax_of(where(greater_equal(distances(), 0), heads().scores(), lowest)), heads().v);
     }},
    {"attention_causal_added", "attention",
     [] {
       const Tensor mask = where(less(distances(), 0), full({}, lowest), 0.0);
       return matmul(softmax_of(heads().scores() + mask), heads().v);
     }},
    {"attention_window", "attention",
     [] {
       const Tensor near = logical_and(greater_equal(distances(), 0), less(distances(), 3));
       return matmul(softmax_of(where(near, heads().scores(), lowest)), heads().v);
     }},
    {"cross_entropy", "linear_cross_entropy_sum",
     [] { return loss_of(product(x32(), weight()), targets()); }},
    {"cross_entropy_of_batches", "linear_cross_entropy_sum",
     [] {
       return loss_of(product(reshape(x32(), {2, 3, 10}), weight()), reshape(targets(), {2, 3}));
     }},
    {"cross_entropy_summed", "linear_cross_entropy_sum",
     [] {
       const Tensor log_p = log_softmax(linear(x32(), weight()));
       return sum(take_along_axis(log_p, expand_dims(targets(), 1), 1));
     }},
    {"softmax_by_a_product", "softmax",
     [] {
       const Tensor e = exp(x32() - max(x32(), {-1}, true));
       return e * (1 / sum(e, {-1}, true));
     }},
    {"softmax_behind_its_norm", "softmax", [] { return exp(x32() - logsumexp(x32(), {-1}, true)); }},
    {"softmax_of_log_softmax", "softmax", [] { return exp(log_softmax(x32(), 0)); }},
    {"log_softmax_behind_its_norm", "log_softmax", [] { return x32() - logsumexp(x32(), {0}, true); }},
    {"log_softmax_by_maximum_and_sum", "log_softmax",
     [] {
       const Tensor most = max(x32(), {-1}, true);
       return x32() - (most + log(sum(exp(x32() - most), {-1}, true)));
     }},
    {"rms_norm_weighted_early", "rms_norm",
     [] { return row(1) * x32() * rsqrt(mean(pow(x32(), 2), {-1}, true) + 1e-5); }},
    {"rms_norm_weighted_early_by_division", "rms_norm",
     [] { return x32() * row(1) / sqrt(mean(square(x32()), {-1}, true) + 1e-5); }},
    {"rms_norm_by_a_power", "rms_norm",
     [] { return x32() * pow(mean(square(x32()), {-1}, true) + 1e-5, -0.5); }},
    {"rms_norm_over_a_power", "rms_norm",
     [] { return x32() / pow(mean(square(x32()), {-1}, true) + 1e-5, 0.5) * row(1); }},
    {"rms_norm_by_a_reshape", "rms_norm",
     [] { return x32() * expand_dims(rsqrt(mean(square(x32()), {-1}) + 1e-5), -1); }},
    {"rms_norm_by_an_early_reshape", "rms_norm",
     [] { return x32() / sqrt(expand_dims(mean(square(x32()), {1}), 1) + 1e-5); }},
    {"rms_norm_without_eps", "rms_norm", [] { return x32() / sqrt(mean(square(x32()), {-1}, true)); }},
    {"layer_norm_weighted_early", "layer_norm",
     [] {
       const Tensor centered = x32() - mean(x32(), {-1}, true);
       return row(1) * centered / sqrt(mean(square(centered), {-1}, true) + 1e-5) + row(2);
     }},
    {"layer_norm_over_a_power", "layer_norm",
     [] {
       const Tensor centered = x32() - mean(x32(), {-1}, true);
       return centered / pow(mean(square(centered), {-1}, true) + 1e-5, 0.5);
     }},
    {"sigmoid_of_minus_one_times", "sigmoid", [] { return 1 / (1 + exp(-1 * x32())); }},
    {"gelu_halved_inside", "gelu", [] { return x32() * (0.5 + 0.5 * erf(x32() / std::sqrt(2.0))); }},
    {"gelu_tanh_scaled_early", "gelu_tanh",
     [] {
       const Tensor x = x32();
       return 0.5 * x * (1 + tanh(x * 0.79788456 * (1 + 0.044715 * x * x)));
     }},
};

INSTANTIATE_TEST_SUITE_P(Patterns, Recognized, ::testing::ValuesIn(recognized_cases),
                         [](const auto& i) { return std::string(i.param.name); });

/// What is nearly a composite, and is not.
class Unrecognized : public ::testing::TestWithParam<Case> {};

TEST_P(Unrecognized, StaysAsItIs) {
  const Graph graph = recognized({GetParam().expression()});
  EXPECT_EQ(test::count_op(graph, GetParam().op), 0u) << print(graph);
}

const Case unrecognized_cases[] = {
    {"softmax_without_maximum", "softmax", [] { return exp(x32()) / sum(exp(x32()), {-1}, true); }},
    {"softmax_of_two_axes", "softmax",
     [] {
       const Tensor e = exp(x32() - max(x32(), {0}, true));
       return e / sum(e, {1}, true);
     }},
    {"softmax_of_all", "softmax",
     [] {
       const Tensor e = exp(x32() - max(x32()));
       return e / sum(e);
     }},
    {"rms_norm_of_columns", "rms_norm", [] { return x32() * rsqrt(mean(square(x32()), {0}, true) + 1e-5); }},
    {"rms_norm_of_another_count", "rms_norm",
     [] { return x32() * rsqrt(sum(square(x32()), {-1}, true) / 9 + 1e-5); }},
    {"rms_norm_of_two_tensors", "rms_norm",
     [] {
       return x32() * rsqrt(mean(square(normal({6, 10}, DType::f32, 9)), {-1}, true) + 1e-5);
     }},
    {"gelu_of_another_factor", "gelu", [] { return 0.5 * x32() * (1 + erf(x32() * 0.7)); }},
    {"gelu_of_doubles", "gelu",
     [] {
       const Tensor x = cast(x32(), DType::f64);
       return 0.5 * x * (1 + erf(x / std::sqrt(2.0)));
     }},
    {"swiglu_of_a_row", "swiglu", [] { return silu(x32()) * row(1); }},
    {"linear_of_a_strided_weight", "linear",
     [] {
       return matmul(x32(), normal({10, 8}));
     }},
    {"bias_of_rows", "lora_linear",
     [] {
       return product(x32(), weight()) + normal({6, 1});
     }},
    {"lora_that_is_no_bottleneck", "lora_linear",
     [] {
       const Tensor a = normal({9, 10});
       return product(x32(), weight()) + product(product(x32(), a), normal({8, 9}));
     }},
    {"attention_by_data", "attention",
     [] {
       const Tensor mask = greater(normal({5, 7}), 0);
       return matmul(softmax_of(where(mask, heads().scores(), lowest)), heads().v);
     }},
    {"attention_that_sees_nothing", "attention",
     [] { return matmul(softmax_of(where(greater(distances(), 5), heads().scores(), lowest)), heads().v); }},
    {"attention_hidden_by_little", "attention",
     [] {
       return matmul(softmax_of(where(greater_equal(distances(), 0), heads().scores(), -100.0)), heads().v);
     }},
    {"attention_along_queries", "attention",
     [] { return matmul(softmax_of(heads().scores(), 2), heads().v); }},
};

INSTANTIATE_TEST_SUITE_P(Patterns, Unrecognized, ::testing::ValuesIn(unrecognized_cases),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(Recognize, WhatIsReadElsewhereIsNotComputedTwice) {
  const Tensor e = exp(x32() - max(x32(), {-1}, true));
  const Tensor total = sum(e, {-1}, true);
  EXPECT_EQ(test::count_op(recognized({e / total, total}), "softmax"), 0u);
  const Tensor inverse = rsqrt(mean(square(x32()), {-1}, true) + 1e-5);
  EXPECT_EQ(test::count_op(recognized({x32() * inverse, inverse}), "rms_norm"), 0u);
}

TEST(Recognize, CausalOptionsAreThoseOfTheMask) {
  const Tensor past = greater_equal(distances(), 0);
  const Graph graph = recognized({matmul(softmax_of(where(past, heads().scores(), lowest)), heads().v)});
  EXPECT_EQ(test::only(graph, "attention").op->describe(test::only(graph, "attention").attrs),
            "scale=0.5, causal");
}

TEST(Recognize, DoesNotSimplifyWhereThatIsDisabled) {
  const auto graph = [] {
    return test::optimized({softmax_of(x32()), exp(reshape(reshape(x32(), {60}), {12, 5}))});
  };
  EXPECT_EQ(test::count_op(graph(), "reshape"), 1u);
  const DisablePassesScope without({"simplify", "sink-reshapes"});
  EXPECT_EQ(test::count_op(graph(), "softmax"), 1u);
  EXPECT_EQ(test::count_op(graph(), "reshape"), 2u);
}

TEST(Recognize, ATargetOutOfRangeIsStillAnError) {
  for (std::int64_t target : {8, -9}) {
    const Tensor t = Tensor::from(std::vector<std::int64_t>(6, target), {6});
    EXPECT_THROW(loss_of(product(x32(), weight()), t).eval(), ArgumentError);
  }
}

TEST(Recognize, LogitsOf16BitFloatsAreNotRoundedOnTheWay) {
  const Tensor x = reshape(x16(), {2, 3, 10});
  const Tensor w = narrow(weight()).eval();
  const Tensor matrix = Tensor::from(transpose(wide(w)).to_vector<float>(), {10, 8});
  const Tensor exact = loss_of(product(wide(x), wide(w)), reshape(targets(), {2, 3}));
  for (const Tensor& logits : {product(x, w), matmul(x, narrow(matrix).eval())}) {
    const Tensor loss = loss_of(wide(logits), reshape(targets(), {2, 3}));
    EXPECT_EQ(test::count_op(recognized({loss}), "linear_cross_entropy_sum"), 1u);
    EXPECT_NEAR(loss.item<float>(), exact.item<float>(), 1e-5);
  }
}

TEST(Recognize, GradientsOfPlainOpsStayRight) {
  test::expect_same_results("recognize", [] {
    const Tensor x = x32();
    const Tensor loss = sum(rms_norm_of(x) * softmax_of(x) + gelu_tanh_of(x));
    return std::vector<Tensor>{loss, grad(loss, {x})[0]};
  });
}

}  // namespace
}  // namespace wick
