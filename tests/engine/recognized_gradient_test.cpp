#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <thread>

#include "ops/linear_cross_entropy.h"
#include "ops/lora_parts.h"
#include "optimize/decompose_scope.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "pass_harness.h"
#include "wick/compiled.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/optimize.h"

// Plain ops that mean a composite, under `grad`: the composite's gradient is taken, and the forward is still
// recognized.
namespace wick {
namespace {

using test::normal;

constexpr double lowest = -std::numeric_limits<double>::infinity();

using Expression = Tensor (*)(const std::vector<Tensor>& in);

struct Case {
  const char* name;
  Expression plain;
  Expression composite;
  std::vector<Shape> shapes;
  const char* op;        // of the forward, and
  const char* gradient;  // of the backward, as they are recognized; null: the gradient is no op of its own
  bool wide = true;      // whether the pattern takes f64
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Tensor softmax_of(const Tensor& x) {
  const Tensor e = exp(x - max(x, {-1}, true));
  return e / sum(e, {-1}, true);
}
Tensor log_softmax_of(const Tensor& x) {
  const Tensor shifted = x - max(x, {-1}, true);
  return shifted - log(sum(exp(shifted), {-1}, true));
}
Tensor rms_norm_of(const Tensor& x, const Operand& w) {
  return x * rsqrt(mean(square(x), {-1}, true) + 1e-5) * w;
}
Tensor layer_norm_of(const Tensor& x, const Tensor& w, const Tensor& b) {
  const Tensor centered = x - mean(x, {-1}, true);
  return centered * rsqrt(mean(square(centered), {-1}, true) + 1e-5) * w + b;
}
Tensor product(const Tensor& x, const Tensor& w) { return matmul(x, transpose(w)); }
Tensor causal(std::int64_t length) {
  return greater_equal(expand_dims(arange(length), 1) - arange(length), 0);
}
Tensor attention_of(const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor scores = matmul(q, transpose(k)) * 0.5;
  return matmul(softmax_of(where(causal(q.dim(2)), scores, lowest)), v);
}
Tensor split(const Tensor& x, std::int64_t heads) {
  return permute(reshape(x, {x.dim(0), x.dim(1), heads, x.dim(2) / heads}), {0, 2, 1, 3});
}
AttentionOptions causal_options() {
  AttentionOptions options;
  options.scale = 0.5;
  options.causal = true;
  return options;
}
Tensor targets_of(std::int64_t rows) { return arange(rows, DType::i64, 2); }
Tensor loss_of(const Tensor& logits, const Tensor& targets) {
  return neg(mean(squeeze(take_along_axis(log_softmax_of(logits), expand_dims(targets, -1), -1), -1)));
}

const std::vector<Case>& cases() {
  static const std::vector<Case> list{
      {"softmax",
       [](const auto& in) { return softmax_of(in[0]); },
       [](const auto& in) { return softmax(in[0]); },
       {{5, 7}},
       "softmax",
       "softmax_gradient"},
      {"log_softmax",
       [](const auto& in) { return log_softmax_of(in[0]); },
       [](const auto& in) { return log_softmax(in[0]); },
       {{5, 7}},
       "log_softmax",
       "log_softmax_gradient"},
      {"rms_norm",
       [](const auto& in) { return rms_norm_of(in[0], in[1]); },
       [](const auto& in) { return rms_norm(in[0], in[1], 1e-5); },
       {{3, 5, 7}, {7}},
       "rms_norm",
       "rms_norm_gradient"},
      {"layer_norm",
       [](const auto& in) { return layer_norm_of(in[0], in[1], in[2]); },
       [](const auto& in) { return layer_norm(in[0], in[1], in[2], 1e-5); },
       {{5, 7}, {7}, {7}},
       "layer_norm",
       "layer_norm_gradient"},
      {"silu",
       [](const auto& in) { return in[0] * sigmoid(in[0]); },
       [](const auto& in) { return silu(in[0]); },
       {{5, 7}},
       "silu",
       "silu_gradient"},
      {"swiglu",
       [](const auto& in) { return in[0] * sigmoid(in[0]) * in[1]; },
       [](const auto& in) { return swiglu(in[0], in[1]); },
       {{5, 7}, {5, 7}},
       "swiglu",
       "swiglu_gate_gradient"},
      {"gelu",
       [](const auto& in) { return in[0] * ((erf(in[0] * (1 / std::sqrt(2.0))) + 1) * 0.5); },
       [](const auto& in) { return gelu(in[0]); },
       {{5, 7}},
       "gelu",
       "gelu_gradient",
       false},
      {"gelu_tanh",
       [](const auto& in) {
         const Tensor& x = in[0];
         return x * (tanh(x * (square(x) * 0.044715 + 1) * 0.7978845608028654) + 1) * 0.5;
       },
       [](const auto& in) { return gelu_tanh(in[0]); },
       {{5, 7}},
       "gelu_tanh",
       "gelu_tanh_gradient",
       false},
      {"linear",
       [](const auto& in) { return product(in[0], in[1]) + in[2]; },
       [](const auto& in) { return linear(in[0], in[1], in[2]); },
       {{5, 7}, {3, 7}, {3}},
       "linear",
       nullptr,
       false},
      {"lora_linear",
       [](const auto& in) { return product(in[0], in[1]) + product(product(in[0], in[2]), in[3]) * 0.5; },
       [](const auto& in) { return lora_linear(in[0], in[1], {}, in[2], in[3], 0.5); },
       {{5, 7}, {6, 7}, {2, 7}, {6, 2}},
       "lora_linear",
       "lora_projection",
       false},
      {"lora_linear_of_matrices",
       [](const auto& in) {
         return matmul(in[0], in[1]) + matmul(matmul(in[0], in[2]) * 0.5, in[3]) + in[4];
       },
       [](const auto& in) { return record_lora_linear(in[0], in[1], in[4], in[2], in[3], 0.5, true); },
       {{2, 3, 7}, {7, 6}, {7, 2}, {2, 6}, {6}},
       "lora_linear",
       "lora_projection"},
      {"attention",
       [](const auto& in) { return attention_of(in[0], in[1], in[2]); },
       [](const auto& in) { return attention(in[0], in[1], in[2], causal_options()); },
       {{2, 3, 5, 4}, {2, 3, 5, 4}, {2, 3, 5, 4}},
       "attention",
       "attention_gradient"},
      {"attention_of_split_heads",
       [](const auto& in) { return attention_of(split(in[0], 3), split(in[1], 3), split(in[2], 3)); },
       [](const auto& in) {
         return attention(split(in[0], 3), split(in[1], 3), split(in[2], 3), causal_options());
       },
       {{2, 5, 12}, {2, 5, 12}, {2, 5, 12}},
       "attention",
       "attention_gradient"},
      {"cross_entropy_of_a_matrix",
       [](const auto& in) {
         return loss_of(matmul(in[0], in[1]), reshape(targets_of(6), {2, 3}));
       },
       [](const auto& in) {
         const Tensor targets = reshape(targets_of(6), {2, 3});
         return record_loss_sum(in[0], in[1], targets, {{-100, 0}, 1}) / 6.0;
       },
       {{2, 3, 7}, {7, 9}},
       "linear_cross_entropy_sum",
       "linear_cross_entropy_parts"},
      {"cross_entropy",
       [](const auto& in) {
         return loss_of(product(in[0], in[1]), reshape(targets_of(6), {2, 3}));
       },
       [](const auto& in) {
         return linear_cross_entropy(in[0], in[1], reshape(targets_of(6), {2, 3}));
       },
       {{2, 3, 7}, {9, 7}},
       "linear_cross_entropy_sum",
       "linear_cross_entropy_parts",
       false},
  };
  return list;
}

std::vector<Tensor> inputs_of(const Case& c, DType dtype) {
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < c.shapes.size(); ++i)
    inputs.push_back(cast(normal(c.shapes[i], DType::f32, i + 1), dtype).eval().detach());
  return inputs;
}

/// A loss in which no two elements of `x` weigh the same.
Tensor weighed(const Tensor& x) {
  return sum(x * cast(sin(arange(x.elements(), DType::f32) + 1), x.dtype()));
}
Tensor weighed_rows(const Tensor& x) { return weighed(reshape(x, {x.elements()})); }

/// {loss, gradients...}
std::vector<Tensor> differentiated(Expression f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> outputs{weighed_rows(f(inputs))};
  for (Tensor& gradient : grad(outputs[0], inputs)) outputs.push_back(std::move(gradient));
  return outputs;
}

/// The same numbers without any of this.
std::vector<std::vector<double>> reference(const std::function<std::vector<Tensor>()>& record) {
  const DisablePassesScope plain({"recognize"});
  std::vector<std::vector<double>> all;
  for (const Tensor& output : record()) all.push_back(test::numbers(output));
  return all;
}

void expect_near(const std::vector<Tensor>& found, const std::vector<std::vector<double>>& expected,
                 double factor = 1) {
  eval(found);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const DType dtype = found[i].dtype();
    EXPECT_LE(test::distance(test::numbers(found[i]), expected[i], factor * test::relative_tolerance(dtype),
                             factor * test::absolute_tolerance(dtype)),
              1)
        << "output " << i;
  }
}

Graph recognized(const std::vector<Tensor>& outputs) {
  return optimize_until_recognized(test::graph_of(outputs), test::pass_context());
}

/// How often each op occurs.
std::map<std::string_view, std::size_t> ops_of(const Graph& graph) {
  std::map<std::string_view, std::size_t> count;
  for (const GraphNode& node : graph.nodes)
    if (node.op) ++count[node.op->name];
  return count;
}

/// Whether what was recorded for `outputs` contains the op.
bool was_recorded(const std::vector<Tensor>& outputs, std::string_view name) {
  const Walk all = walk(outputs, WalkThrough::everything);
  return std::any_of(all.order.begin(), all.order.end(),
                     [&](const Node* node) { return node->op() && node->op()->name == name; });
}

class RecognizedGradient : public ::testing::TestWithParam<Case> {};

TEST_P(RecognizedGradient, ForwardAndBackwardAreTheComposites) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  const std::vector<Tensor> outputs = differentiated(GetParam().plain, inputs);
  const Graph before = test::graph_of({outputs[0]});
  const Graph after = recognized(outputs);
  EXPECT_EQ(test::count_op(before, GetParam().op), 0u) << print(before);
  EXPECT_GE(test::count_op(after, GetParam().op), 1u) << print(after);
  if (GetParam().gradient) {
    EXPECT_GE(test::count_op(after, GetParam().gradient), 1u) << print(after);
  }
  for (std::string_view inner : {"exp", "erf", "tanh", "rsqrt", "max", "log"})
    EXPECT_EQ(test::count_op(after, inner), 0u) << print(after);
}

/// What is computed is what the composite computes: the same ops, as often.
TEST_P(RecognizedGradient, IsPlannedAsTheComposite) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  const Graph plain = test::optimized(differentiated(GetParam().plain, inputs));
  const Graph composite = test::optimized(differentiated(GetParam().composite, inputs));
  const auto expensive = [](const Graph& graph) {
    auto count = ops_of(graph);
    for (std::string_view cheap : {"constant", "reshape", "permute", "elementwise_group", "copy", "leaf",
                                   "neg", "div", "mul", "less", "where", "add", "expand_dims"})
      count.erase(cheap);
    return count;
  };
  EXPECT_EQ(expensive(plain), expensive(composite)) << print(plain) << print(composite);
}

TEST_P(RecognizedGradient, GivesTheCompositesNumbers) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  std::vector<std::vector<double>> expected;
  for (const Tensor& output : differentiated(GetParam().composite, inputs))
    expected.push_back(test::numbers(output));
  expect_near(differentiated(GetParam().plain, inputs), expected);
}

/// Sums of tens of products, against float64.
TEST_P(RecognizedGradient, GivesTheNumbersOfFloat64) {
  constexpr double sums = 4;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Tensor> inputs = inputs_of(GetParam(), dtype);
    std::vector<Tensor> wide;
    for (const Tensor& input : inputs) wide.push_back(cast(input, DType::f64).eval().detach());
    const auto expected = reference([&] { return differentiated(GetParam().plain, wide); });
    expect_near(differentiated(GetParam().plain, inputs), expected, sums);
  }
}

/// In f32 where the pattern takes no f64; its rounding is squared and summed over all gradients then.
TEST_P(RecognizedGradient, HasASecondDerivative) {
  const auto twice = [&](DType dtype) {
    const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
    std::vector<Tensor> typed;
    for (const Tensor& input : inputs) typed.push_back(cast(input, dtype).eval().detach());
    const std::vector<Tensor> once = differentiated(GetParam().plain, typed);
    Tensor total = once[0];
    for (std::size_t i = 1; i < once.size(); ++i) total = total + weighed_rows(square(once[i]));
    return grad(total, typed);
  };
  const auto expected = reference([&] { return twice(DType::f64); });
  expect_near(twice(GetParam().wide ? DType::f64 : DType::f32), expected, GetParam().wide ? 1 : 16);
}

TEST_P(RecognizedGradient, OfASegmentThatIsRepeated) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  const auto repeated = [&] {
    const Tensor y = checkpoint(
        [&](auto in) { return GetParam().plain(std::vector<Tensor>(in.begin(), in.end())); }, inputs);
    return grad(weighed_rows(y), inputs);
  };
  const std::vector<Tensor> gradients = repeated();
  if (GetParam().gradient) {
    EXPECT_TRUE(was_recorded(gradients, GetParam().gradient));
  }
  expect_near(gradients, reference(repeated), 4);
}

TEST_P(RecognizedGradient, CompiledGivesTheBitsOfEval) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  const auto step = [&](const std::vector<Tensor>& in) { return differentiated(GetParam().plain, in); };
  const std::vector<Tensor> evaluated = step(inputs);
  eval(evaluated);
  const std::vector<Tensor> compiled = Compiled(step)(inputs);
  for (std::size_t i = 0; i < evaluated.size(); ++i)
    EXPECT_EQ(test::numbers(compiled[i]), test::numbers(evaluated[i])) << "output " << i;
}

class RecognizedGradientOp : public RecognizedGradient {};

TEST_P(RecognizedGradientOp, IsLeftAloneWithoutThePass) {
  const std::vector<Tensor> inputs = inputs_of(GetParam(), DType::f32);
  {
    const DisablePassesScope without({"recognize"});
    EXPECT_FALSE(was_recorded(differentiated(GetParam().plain, inputs), GetParam().gradient));
  }
  {
    const DecomposeScope decomposed;
    EXPECT_FALSE(was_recorded(differentiated(GetParam().plain, inputs), GetParam().gradient));
  }
  EXPECT_TRUE(was_recorded(differentiated(GetParam().plain, inputs), GetParam().gradient));
}

INSTANTIATE_TEST_SUITE_P(Patterns, RecognizedGradient, ::testing::ValuesIn(cases()),
                         [](const auto& i) { return std::string(i.param.name); });

/// Those whose gradient is an op of its own.
std::vector<Case> cases_with_gradient_op() {
  std::vector<Case> list = cases();
  std::erase_if(list, [](const Case& c) { return c.gradient == nullptr; });
  return list;
}

INSTANTIATE_TEST_SUITE_P(Patterns, RecognizedGradientOp, ::testing::ValuesIn(cases_with_gradient_op()),
                         [](const auto& i) { return std::string(i.param.name); });

/// Recorded twice: `record` must give the same tensors each time.
void expect_as_without(const std::function<std::vector<Tensor>()>& record) {
  expect_near(record(), reference(record), 4);
}

TEST(GradientOfRecognized, WithRespectToWhatACompositeSwallows) {
  const Tensor x = normal({5, 7});
  const auto record = [&](bool also_of_x) {
    const Tensor shifted = x - max(x, {-1}, true);
    const Tensor e = exp(shifted);
    const Tensor loss = weighed_rows(rms_norm_of(e / sum(e, {-1}, true), normal({7}, DType::f32, 2)));
    return grad(loss, also_of_x ? std::vector<Tensor>{shifted, e, x, e} : std::vector<Tensor>{e});
  };
  for (const bool also_of_x : {false, true}) {
    EXPECT_TRUE(was_recorded(record(also_of_x), "rms_norm_gradient"));
    EXPECT_FALSE(was_recorded(record(also_of_x), "softmax_gradient"));
    expect_as_without([&] { return record(also_of_x); });
  }
}

TEST(GradientOfRecognized, WithRespectToItsResultAndItsOperand) {
  const Tensor x = normal({5, 7});
  expect_as_without([&] {
    const Tensor hidden = tanh(x);
    const Tensor y = softmax_of(hidden);
    return grad(weighed_rows(y * y), {x, hidden, y});
  });
}

TEST(GradientOfRecognized, TargetsThatAreEqualAreNotOne) {
  const Tensor x = normal({5, 7});
  expect_as_without([&] {
    const Tensor a = exp(x * 0.1);
    const Tensor b = exp(x * 0.1);
    const Tensor c = a * 1.0;
    return grad(weighed_rows(softmax_of(x) * a * b + square(c)), {a, b, c, x});
  });
}

TEST(GradientOfRecognized, StopsWhereItIsStopped) {
  const Tensor x = normal({5, 7});
  expect_as_without([&] {
    const Tensor loss = weighed_rows(softmax_of(x) * stop_gradient(x) + stop_gradient(rms_norm_of(x, 2)));
    return grad(loss, {x});
  });
}

TEST(GradientOfRecognized, ReadsWhatWasEvaluatedAlready) {
  const Tensor x = normal({5, 7});
  const auto record = [&](bool evaluates) {
    const Tensor e = exp(x - max(x, {-1}, true));
    if (evaluates) e.eval();
    return grad(weighed_rows(e / sum(e, {-1}, true)), {x});
  };
  EXPECT_TRUE(was_recorded(record(false), "softmax_gradient"));
  EXPECT_FALSE(was_recorded(record(true), "softmax_gradient"));
  expect_as_without([&] { return record(true); });
}

TEST(GradientOfRecognized, LeavesTensorsThatAreHeldAsTheyAre) {
  const Tensor x = normal({5, 7});
  const auto record = [&] {
    const Tensor e = exp(x - max(x, {-1}, true));
    const Tensor y = e / sum(e, {-1}, true);
    const Tensor loss = weighed_rows(y);
    const std::vector<Tensor> gradients = grad(loss, {x});
    return std::vector<Tensor>{loss, e, y, gradients[0]};
  };
  expect_as_without(record);
  const std::vector<Tensor> outputs = record();
  outputs[1].eval();  // alone, and then the others
  expect_near(outputs, reference(record), 4);
}

TEST(GradientOfRecognized, TheSameStructureIsTakenWithOtherTensors) {
  for (std::uint64_t seed = 1; seed < 4; ++seed) {
    const Tensor x = normal({5, 7}, DType::f32, seed);
    const Tensor w = normal({7}, DType::f32, seed + 10);
    expect_as_without([&] { return grad(weighed_rows(rms_norm_of(softmax_of(x), w)), {w, x}); });
  }
}

TEST(GradientOfRecognized, WorksEagerly) {
  const Tensor x = normal({5, 7});
  const EagerScope eager;
  expect_as_without([&] { return grad(weighed_rows(softmax_of(x)), {x}); });
}

TEST(GradientOfRecognized, WorksOnManyThreads) {
  const Tensor x = normal({5, 7});
  const auto expected = reference([&] { return grad(weighed_rows(softmax_of(x)), {x}); });
  std::vector<std::vector<Tensor>> found(8);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < found.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Tensor scaled = x * static_cast<double>(i % 3 + 1) / static_cast<double>(i % 3 + 1);
        found[t] = grad(weighed_rows(softmax_of(scaled)), {x});
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Tensor>& gradients : found) expect_near(gradients, expected, 4);
}

TEST(GradientOfRecognized, AttentionKeepsNoScores) {
  constexpr std::int64_t length = 256;
  const std::vector<Tensor> in{normal({1, 8, length, 16}), normal({1, 8, length, 16}),
                               normal({1, 8, length, 16})};
  const std::uint64_t scores = std::uint64_t{8} * length * length * sizeof(float);
  const auto arena = [&](Expression f) { return plan_memory(differentiated(f, in)).arena_bytes; };
  EXPECT_LT(arena([](const auto& x) { return attention_of(x[0], x[1], x[2]); }), scores / 2);
  const DisablePassesScope without({"recognize"});
  EXPECT_GT(arena([](const auto& x) { return attention_of(x[0], x[1], x[2]); }), scores);
}

TEST(GradientOfRecognized, CrossEntropyNeverHoldsAllLogits) {
  constexpr std::int64_t rows = 256;
  constexpr std::int64_t classes = 20'000;
  const std::uint64_t logits = std::uint64_t{rows} * classes;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool transposed : {true, false}) {
      const Tensor hidden = normal({1, rows, 8}, dtype);
      const Tensor weight = normal(transposed ? Shape{classes, 8} : Shape{8, classes}, dtype, 2);
      const auto arena = [&] {
        const Tensor z = transposed ? product(hidden, weight) : matmul(hidden, weight);
        const Tensor loss = loss_of(cast(z, DType::f32), reshape(targets_of(rows), {1, rows}));
        std::vector<Tensor> outputs = grad(loss, {hidden, weight});
        outputs.push_back(loss);
        return plan_memory(outputs).arena_bytes;
      };
      EXPECT_LT(arena(), logits * sizeof(float) / 2);
      const DisablePassesScope without({"recognize"});
      EXPECT_GT(arena(), logits * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace wick
