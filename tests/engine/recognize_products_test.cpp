#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optimize/common_subexpressions.h"
#include "optimize/print.h"
#include "optimize/recognize.h"
#include "optimize/simplify.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/error.h"
#include "wick/grad.h"

// The ways in which adapters, attention and losses over a vocabulary are written.
namespace wick {
namespace {

using test::normal;

Graph recognized(const std::vector<Tensor>& outputs) {
  const PassContext context = test::pass_context();
  const Graph distinct = eliminate_common_subexpressions(test::graph_of(outputs), context);
  Graph graph = recognize(simplify(distinct, context), context);
  verify(graph, "recognize");
  return graph;
}
Graph recognized(const Tensor& output) { return recognized(std::vector<Tensor>{output}); }

struct Case {
  const char* name;
  const char* op;
  Tensor (*expression)();
  const char* attributes = nullptr;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class RecognizedProducts : public ::testing::TestWithParam<Case> {};

TEST_P(RecognizedProducts, BecomeOneOp) {
  const Case& c = GetParam();
  const Graph graph = recognized(c.expression());
  ASSERT_EQ(test::count_op(graph, c.op), 1u) << print(graph);
  const GraphNode& node = test::only(graph, c.op);
  if (c.attributes) {
    EXPECT_EQ(node.op->describe(node.attrs), c.attributes);
  }
}

TEST_P(RecognizedProducts, GiveTheSameNumbers) {
  const double factor =
      GetParam().expression().dtype() == DType::bf16 ? 4 : 1;  // rounded once, not each term
  test::expect_same_results(
      "recognize", [] { return std::vector<Tensor>{GetParam().expression()}; }, factor);
}

// Adapters. Everything is positive: sums that cancel have no digits to compare.
Tensor positive(const Shape& shape, std::uint64_t seed, DType dtype = DType::f32) {
  return cast(abs(normal(shape, DType::f32, seed)), dtype).eval();
}
/// The same node at every call.
const Tensor& batch() {
  static const Tensor x = positive({2, 3, 10}, 1);
  return x;
}
Tensor base(const Tensor& x) { return linear(x, positive({8, 10}, 2, x.dtype())); }
Tensor a() { return positive({2, 10}, 3); }
Tensor b() { return positive({8, 2}, 4); }
/// The same the other way: x W + (x A) B.
Tensor matrix() { return positive({10, 8}, 2); }
Tensor matrix_a() { return positive({10, 2}, 3); }
Tensor matrix_b() { return positive({2, 8}, 4); }

const Case adapters[] = {
    {"scale_on_x", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1);
       const Tensor delta = matmul(matmul(x * 0.25, transpose(a())), transpose(b()));
       return matmul(x, transpose(positive({8, 10}, 2))) + delta;
     },
     "scale=0.25"},
    {"scale_on_x_of_linears", "lora_linear",
     [] { return base(batch()) + linear(linear(0.25 * batch(), a()), b()); }, "scale=0.25"},
    {"scale_of_alpha_over_rank", "lora_linear",
     [] { return base(batch()) + 7.0 * linear(linear(batch(), a()), b()) / 5.0; }},
    {"scale_by_division", "lora_linear",
     [] { return base(batch()) + linear(linear(batch(), a()), b()) / 3.0; }},
    {"scale_behind_the_cast", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1, DType::bf16);
       const Tensor wide = cast(x, DType::f32);
       return base(x) + 0.25 * cast(linear(linear(wide, a()), b()), DType::bf16);
     },
     "scale=0.25"},
    {"factors_as_matrices", "lora_linear",
     [] {
       return base(batch()) + 0.25 * matmul(matmul(batch(), positive({10, 2}, 3)), positive({2, 8}, 4));
     },
     "scale=0.25"},
    {"factors_as_matrices_and_a_bias", "lora_linear",
     [] {
       const Tensor biased = linear(batch(), positive({8, 10}, 2), positive({8}, 5));
       return biased + matmul(matmul(batch(), positive({10, 2}, 3)) * 0.25, positive({2, 8}, 4));
     },
     "scale=0.25"},
    {"all_as_matrices", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1);
       return matmul(x, matrix()) + 0.25 * matmul(matmul(x, matrix_a()), matrix_b());
     },
     "scale=0.25, transposed"},
    {"weight_as_a_matrix", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1);
       return linear(linear(x, a()) / 4.0, b()) + matmul(x, matrix());
     },
     "scale=0.25, transposed"},
    {"all_as_matrices_of_batches", "lora_linear",
     [] { return matmul(batch(), matrix()) + matmul(matmul(batch(), matrix_a()), matrix_b()) * 0.25; },
     "scale=0.25, transposed"},
    {"all_as_matrices_and_a_bias", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1);
       return positive({8}, 5) + matmul(x, matrix()) + matmul(matmul(x, matrix_a()) * 0.25, matrix_b());
     },
     "scale=0.25, transposed"},
    {"all_as_matrices_of_batches_and_a_bias", "lora_linear",
     [] {
       const Tensor biased = matmul(batch(), matrix()) + positive({8}, 5);
       return biased + 0.25 * matmul(matmul(batch(), matrix_a()), matrix_b());
     },
     "scale=0.25, transposed"},
    {"bias_behind_all", "lora_linear",
     [] {
       const Tensor y = matmul(batch(), matrix()) + 0.25 * matmul(matmul(batch(), matrix_a()), matrix_b());
       return y + positive({1, 8}, 5);
     },
     "scale=0.25, transposed"},
    {"bias_behind_the_adapter_of_a_linear", "lora_linear",
     [] { return positive({8}, 5) + (base(batch()) + 0.25 * linear(linear(batch(), a()), b())); },
     "scale=0.25"},
    {"bias_of_transposed_weights_of_batches", "lora_linear",
     [] {
       const Tensor biased = matmul(batch(), transpose(positive({8, 10}, 2))) + positive({8}, 5);
       return biased + 0.25 * matmul(matmul(batch(), matrix_a()), matrix_b());
     },
     "scale=0.25"},
    {"wide_adapter_of_a_matrix", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1, DType::bf16);
       const Tensor delta = matmul(matmul(cast(x, DType::f32), matrix_a()), matrix_b()) * 0.25;
       return matmul(x, cast(matrix(), DType::bf16).eval()) + cast(delta, DType::bf16);
     },
     "scale=0.25, transposed"},
};

INSTANTIATE_TEST_SUITE_P(Adapters, RecognizedProducts, ::testing::ValuesIn(adapters),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(RecognizeAdapters, MatricesAreReadAsTheyLie) {
  const std::vector<Tensor> in{positive({6, 10}, 1), matrix(), matrix_a(), matrix_b()};
  const Tensor y = matmul(in[0], in[1]) + matmul(matmul(in[0], in[2]), in[3]) * 0.25;
  std::vector<Tensor> outputs = grad(sum(y), {in[0], in[2], in[3]});
  outputs.push_back(y);
  const Graph before = test::graph_of({y});
  EXPECT_EQ(test::count_op(before, "matmul"), 3u);
  const Graph after = recognized(outputs);
  EXPECT_EQ(test::count_op(after, "matmul"), 0u) << print(after);
  EXPECT_EQ(test::count_op(after, "permute"), 0u) << print(after);
  EXPECT_EQ(test::count_op(after, "lora_linear"), 1u) << print(after);
  EXPECT_EQ(test::count_op(after, "lora_gradient"), 2u) << print(after);
}

const Case no_adapters[] = {
    {"weight_of_one_feature", "lora_linear",
     [] {
       return linear(batch(), positive({1, 10}, 2)) + linear(linear(batch(), a()), b());
     }},
    {"matrix_of_one_feature", "lora_linear",
     [] {
       return matmul(batch(), positive({10, 1}, 2)) + matmul(matmul(batch(), matrix_a()), matrix_b());
     }},
    {"no_bottleneck", "lora_linear",
     [] {
       return matmul(batch(), matrix()) + matmul(matmul(batch(), positive({10, 9}, 3)), positive({9, 8}, 4));
     }},
    {"bias_of_rows", "lora_linear",
     [] {
       const Tensor x = positive({6, 10}, 1);
       return matmul(x, matrix()) + positive({6, 1}, 5) + matmul(matmul(x, matrix_a()), matrix_b());
     }},
    {"matrices_in_a_batch", "lora_linear",
     [] {
       const Tensor delta = matmul(matmul(batch(), matrix_a()), matrix_b());
       return matmul(batch(), positive({2, 10, 8}, 2)) + delta;
     }},
    {"strided_matrix", "lora_linear",
     [] {
       const Tensor every_other = slice(positive({10, 16}, 2), 1, 0, 16, 2);
       return matmul(batch(), every_other) + matmul(matmul(batch(), matrix_a()), matrix_b());
     }},
};

class NoAdapter : public ::testing::TestWithParam<Case> {};

TEST_P(NoAdapter, StaysAsItIs) {
  const Graph graph = recognized(GetParam().expression());
  EXPECT_EQ(test::count_op(graph, GetParam().op), 0u) << print(graph);
  test::expect_same_results("recognize", [] { return std::vector<Tensor>{GetParam().expression()}; });
}

INSTANTIATE_TEST_SUITE_P(Adapters, NoAdapter, ::testing::ValuesIn(no_adapters),
                         [](const auto& i) { return std::string(i.param.name); });

// Attention.
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double lowest = std::numeric_limits<float>::lowest();

Tensor q(DType dtype = DType::f32) { return normal({2, 4, 5, 8}, dtype, 11); }
Tensor k(DType dtype = DType::f32) { return normal({2, 4, 5, 8}, dtype, 12); }
Tensor v(DType dtype = DType::f32) { return positive({2, 4, 5, 8}, 13, dtype); }
Tensor scores() { return matmul(q(), transpose(k())) * 0.25; }
Tensor distances() { return expand_dims(arange(5), 1) - arange(5); }
Tensor causal() { return greater_equal(distances(), 0); }
Tensor added(double hidden) { return where(causal(), full({}, 0), hidden); }
/// [batch, length, heads d] as a projection gives it.
Tensor projected(std::uint64_t seed) { return reshape(normal({2, 5, 32}, DType::f32, seed), {2, 5, 4, 8}); }

const Case attentions[] = {
    {"heads_of_projections", "attention",
     [] {
       const auto heads = [](std::uint64_t seed) { return permute(projected(seed), {0, 2, 1, 3}); };
       return matmul(softmax(matmul(heads(21), transpose(heads(22))) * 0.25), heads(23));
     },
     "scale=0.25"},
    {"keys_permuted_at_once", "attention",
     [] {
       const Tensor keys = permute(projected(22), {0, 2, 3, 1});
       const Tensor masked = where(causal(), matmul(q(), keys) * 0.25, -infinity);
       return matmul(softmax(masked), permute(projected(23), {0, 2, 1, 3}));
     },
     "scale=0.25, causal"},
    {"scale_on_keys", "attention", [] { return matmul(softmax(matmul(q(), transpose(k()) * 0.25)), v()); },
     "scale=0.25"},
    {"scale_on_both", "attention",
     [] { return matmul(softmax(matmul(q() / 4.0, transpose(k()) * 2.0)), v()); }, "scale=0.5"},
    {"filled_where_hidden", "attention",
     [] { return matmul(softmax(where(less(distances(), 0), -infinity, scores())), v()); },
     "scale=0.25, causal"},
    {"filled_where_not_seen", "attention",
     [] { return matmul(softmax(where(logical_not(causal()), lowest, scores())), v()); },
     "scale=0.25, causal"},
    {"lowest_added", "attention", [] { return matmul(softmax(scores() + added(lowest)), v()); },
     "scale=0.25, causal"},
    {"lowest_times_a_mask", "attention",
     [] { return matmul(softmax(scores() + (1 - cast(causal(), DType::f32)) * lowest), v()); },
     "scale=0.25, causal"},
    {"hidden_twice", "attention",
     [] {
       const Tensor past = where(causal(), scores(), -infinity);
       return matmul(softmax(where(less(distances(), 3), past, -infinity)), v());
     },
     "scale=0.25, causal, window=3"},
    {"narrow_mask", "attention",
     [] {
       const Tensor mask = cast(added(-infinity), DType::bf16);
       const Tensor s = matmul(q(DType::bf16), transpose(k(DType::bf16))) * 0.25 + mask;
       return matmul(cast(softmax(cast(s, DType::f32)), DType::bf16), v(DType::bf16));
     },
     "scale=0.25, causal"},
    {"narrow_lowest", "attention",
     [] {
       const Tensor s = matmul(q(DType::bf16), transpose(k(DType::bf16))) * 0.25;
       return matmul(softmax(where(causal(), s, -0x1.fep127)), v(DType::bf16));
     },
     "scale=0.25, causal"},
    {"wide_scores", "attention",
     [] {
       const Tensor s = cast(matmul(q(DType::bf16), transpose(k(DType::bf16))), DType::f32) * 0.25;
       return matmul(cast(softmax(s + added(-infinity)), DType::bf16), v(DType::bf16));
     },
     "scale=0.25, causal"},
    {"one_head", "attention",
     [] {
       const Tensor x = normal({3, 5, 8});
       return matmul(softmax(where(causal(), matmul(x, transpose(x)) * 0.25, -infinity)), x);
     },
     "scale=0.25, causal"},
    {"matrices", "attention",
     [] {
       const Tensor x = normal({5, 8});
       return matmul(softmax(matmul(x, transpose(x)) * 0.25), x);
     },
     "scale=0.25"},
    {"one_key_head", "attention",
     [] {
       const Tensor shared = normal({2, 1, 5, 8});
       return matmul(softmax(matmul(q(), transpose(shared)) * 0.25), shared);
     },
     "scale=0.25"},
    {"grouped_by_broadcasting", "attention",
     [] {
       const Tensor shared = normal({2, 2, 1, 5, 8});
       const Tensor s = matmul(reshape(q(), {2, 2, 2, 5, 8}), transpose(shared)) * 0.25;
       return reshape(matmul(softmax(s), shared), {2, 4, 5, 8});
     },
     "scale=0.25"},
};

INSTANTIATE_TEST_SUITE_P(Attention, RecognizedProducts, ::testing::ValuesIn(attentions),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(RecognizeAttention, ReadsRepeatedKeyHeadsOnce) {
  const auto repeated = [](std::uint64_t seed) {
    const Tensor shared = normal({2, 2, 1, 5, 8}, DType::f32, seed);
    return reshape(broadcast_to(shared, {2, 2, 2, 5, 8}), {2, 4, 5, 8});
  };
  const auto attend = [&] {
    return matmul(softmax(matmul(q(), transpose(repeated(1))) * 0.25), repeated(2));
  };
  const Graph graph = recognized(attend());
  EXPECT_EQ(test::count_op(graph, "attention"), 1u);
  EXPECT_EQ(test::count_op(graph, "broadcast_to"), 0u) << print(graph);
  test::expect_same_results("recognize", [&] { return std::vector<Tensor>{attend()}; });
}

const Case plain_attentions[] = {
    {"hidden_by_a_billion", "attention",
     [] { return matmul(softmax(where(causal(), scores(), -1e9)), v()); }},
    {"keys_broadcast_to_batches", "attention",
     [] {
       const Tensor one = normal({1, 4, 5, 8});
       return matmul(softmax(matmul(q(), transpose(one))), one);
     }},
    {"keys_broadcast_to_groups", "attention",
     [] {
       const Tensor s = matmul(reshape(q(), {2, 2, 2, 5, 8}), transpose(normal({2, 1, 2, 5, 8})));
       return matmul(softmax(s), normal({2, 1, 2, 5, 8}));
     }},
};

class PlainAttention : public ::testing::TestWithParam<Case> {};

TEST_P(PlainAttention, StaysAsItIs) {
  const Graph graph = recognized(GetParam().expression());
  EXPECT_EQ(test::count_op(graph, "attention"), 0u) << print(graph);
}

INSTANTIATE_TEST_SUITE_P(Attention, PlainAttention, ::testing::ValuesIn(plain_attentions),
                         [](const auto& i) { return std::string(i.param.name); });

// Losses.
Tensor hidden() { return normal({6, 10}, DType::f32, 31); }
Tensor logits() {
  static const Tensor x = hidden();
  static const Tensor weight = normal({20, 10}, DType::f32, 32);
  return matmul(x, transpose(weight));
}
Tensor head_matrix() { return normal({10, 20}, DType::f32, 33); }
Tensor logits_of_matrix() {
  static const Tensor x = hidden();
  static const Tensor matrix = head_matrix();
  return matmul(x, matrix);
}
Tensor targets() { return Tensor::from(std::vector<std::int64_t>{0, 7, 19, 3, 2, 5}, {6}); }
Tensor picked(const Tensor& x) { return take_along_axis(x, expand_dims(targets(), -1), -1); }

const Case losses[] = {
    {"norm_less_logit", "linear_cross_entropy_sum",
     [] { return mean(logsumexp(logits(), {-1}) - squeeze(picked(logits()), -1)); }},
    {"norm_less_logit_kept", "linear_cross_entropy_sum",
     [] { return sum(logsumexp(logits(), {-1}, true) - picked(logits())); }},
    {"logits_less_norm", "linear_cross_entropy_sum",
     [] { return -sum(picked(logits() - logsumexp(logits(), {-1}, true))) / 6.0; }},
    {"composite", "linear_cross_entropy_sum", [] { return cross_entropy(logits(), targets(), 3, 0.1); },
     "ignore_index=3, label_smoothing=0.1"},
    {"composite_of_batches", "linear_cross_entropy_sum",
     [] {
       const Tensor l = linear(reshape(hidden(), {2, 3, 10}), normal({20, 10}, DType::f32, 32));
       return cross_entropy_sum(reshape(l, {6, 20}), targets());
     }},
    {"of_a_matrix", "linear_cross_entropy_sum",
     [] { return -mean(take_along_axis(log_softmax(logits_of_matrix()), expand_dims(targets(), 1), 1)); },
     "ignore_index=-100, label_smoothing=0, transposed"},
    {"of_a_matrix_norm_less_logit", "linear_cross_entropy_sum",
     [] {
       const Tensor l = logits_of_matrix();
       return mean(logsumexp(l, {-1}) - squeeze(picked(l), -1));
     },
     "ignore_index=-100, label_smoothing=0, transposed"},
    {"composite_of_a_matrix", "linear_cross_entropy_sum",
     [] { return cross_entropy(logits_of_matrix(), targets(), 3, 0.1); },
     "ignore_index=3, label_smoothing=0.1, transposed"},
    {"composite_of_a_matrix_and_batches", "linear_cross_entropy_sum",
     [] {
       const Tensor l = matmul(reshape(hidden(), {2, 3, 10}), head_matrix());
       return cross_entropy_sum(l, reshape(targets(), {2, 3}));
     },
     "ignore_index=-100, label_smoothing=0, transposed"},
};

INSTANTIATE_TEST_SUITE_P(Losses, RecognizedProducts, ::testing::ValuesIn(losses),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(RecognizeLosses, MatricesThatWouldBeCopiedStay) {
  const Tensor strided = slice(normal({10, 40}, DType::f32, 34), 1, 0, 40, 2);
  const auto of_views = [&] {
    return std::vector<Tensor>{cross_entropy(matmul(hidden(), strided), targets()),
                               cross_entropy(matmul(transpose(normal({10, 6})), head_matrix()), targets())};
  };
  for (const Tensor& loss : of_views())
    EXPECT_EQ(test::count_op(recognized(loss), "linear_cross_entropy_sum"), 0u);
  test::expect_same_results("recognize", of_views);
}

TEST(RecognizeLosses, OtherRowsThanTheHeadsStay) {
  const auto halves = [] {
    const Tensor of_halves = reshape(logits(), {12, 10});
    const Tensor index = Tensor::from(std::vector<std::int64_t>(12, 4), {12});
    return std::vector<Tensor>{
        cross_entropy(of_halves, index),
        mean(take_along_axis(log_softmax(of_halves), expand_dims(index, 1), 1)),
    };
  };
  for (const Tensor& loss : halves())
    EXPECT_EQ(test::count_op(recognized(loss), "linear_cross_entropy_sum"), 0u);
  test::expect_same_results("recognize", halves);
}

}  // namespace
}  // namespace wick
