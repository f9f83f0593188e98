// Floating-point operations, counted by hand.
#include "graph/flops.h"

#include <gtest/gtest.h>

#include <functional>

#include "graph/node.h"
#include "ops/linear_cross_entropy.h"
#include "ops/lora_parts.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick {
namespace {

Tensor f32(const Shape& shape) { return zeros(shape).eval(); }

double flops(const Tensor& recorded) {
  const Node& node = *recorded.node();
  std::vector<Spec> specs;
  EXPECT_TRUE(node.each_input([&](const Tensor& input) { specs.push_back({input.shape(), input.dtype()}); }));
  return flops_of(*node.op(), specs, {node.shape(), node.dtype()}, node.attrs());
}

struct Case {
  const char* name;
  std::function<Tensor()> record;
  double flops;
};

AttentionOptions causal(std::int64_t window = 0) {
  AttentionOptions options;
  options.causal = true;
  options.window = window;
  return options;
}

TEST(Flops, AreCountedByHand) {
  const Tensor x = f32({4, 6});
  const Tensor q = f32({2, 4, 3, 8});
  const Tensor k = f32({2, 2, 5, 8});
  const Tensor ids = zeros({4}, DType::i64).eval();
  const Tensor offset = Tensor::scalar<std::int64_t>(2);
  const std::vector<Case> cases{
      {"add", [&] { return x + x; }, 24},
      {"broadcast add", [&] { return x + f32({6}); }, 24},
      {"cast", [&] { return cast(x, DType::bf16); }, 0},
      {"transpose", [&] { return transpose(x); }, 0},
      {"matmul",
       [&] {
         return matmul(x, f32({6, 5}));
       },
       2 * 4 * 5 * 6},
      {"batched matmul",
       [&] {
         return matmul(f32({3, 4, 6}), f32({3, 6, 5}));
       },
       3 * 2 * 4 * 5 * 6},
      {"empty matmul",
       [&] {
         return matmul(f32({0, 6}), f32({6, 5}));
       },
       0},
      {"linear",
       [&] {
         return linear(x, f32({5, 6}));
       },
       2 * 4 * 5 * 6},
      {"linear with bias",
       [&] {
         return linear(x, f32({5, 6}), f32({5}));
       },
       2 * 4 * 5 * 6 + 4 * 5},
      {"LoRA linear",
       [&] {
         return lora_linear(x, f32({5, 6}), {}, f32({2, 6}), f32({5, 2}), 2.0);
       },
       2 * 4 * 5 * 6 + 2 * 4 * 2 * 6 + 2 * 4 * 5 * 2 + 4 * 2 + 4 * 5},
      {"LoRA linear of matrices [in, out], with bias",
       [&] {
         return record_lora_linear(x, f32({6, 5}), f32({5}), f32({6, 2}), f32({2, 5}), 2.0, true);
       },
       2 * 4 * 5 * 6 + 2 * 4 * 2 * 6 + 2 * 4 * 5 * 2 + 4 * 2 + 2 * 4 * 5},
      {"sum", [&] { return sum(x, {1}); }, 24},
      {"argmax", [&] { return argmax(x, 1); }, 24},
      {"softmax", [&] { return softmax(x, -1); }, 24 * 5},
      {"attention", [&] { return attention(q, k, k, {}); }, 2 * 4 * 3 * 5 * (4.0 * 8 + 5)},
      // Query i of 3 sees 3 + i of 5 keys.
      {"causal attention", [&] { return attention(q, k, k, causal()); }, 2 * 4 * (3 + 4 + 5) * (4.0 * 8 + 5)},
      {"windowed attention", [&] { return attention(q, k, k, causal(2)); }, 2 * 4 * 3 * 2 * (4.0 * 8 + 5)},
      {"attention behind a cache", [&] { return attention(q, k, k, causal(), {}, offset); },
       2 * 4 * 3 * 5 * (4.0 * 8 + 5)},
      {"output head and loss",
       [&] {
         return linear_cross_entropy_sum(x, f32({9, 6}), ids);
       },
       2 * 4 * 9 * 6 + 4 * 4 * 9},
      {"the same of a weight [d, classes]",
       [&] {
         return record_loss_sum(x, f32({6, 9}), ids, {{-100, 0}, 1});
       },
       2 * 4 * 9 * 6 + 4 * 4 * 9},
      {"swiglu: its decomposition's", [&] { return swiglu(x, x); }, 24 * 3},
      {"constant", [&] { return full({}, 2.0); }, 0},
  };
  for (const Case& c : cases) EXPECT_EQ(flops(c.record()), c.flops) << c.name;
}

TEST(Flops, OfTheGradientOfAttentionAreFiveProducts) {
  const Tensor q = f32({1, 2, 3, 4});
  const Tensor loss = sum(attention(q, q, q, causal()));
  const Tensor gradient = grad(loss, {q})[0];
  std::vector<Tensor> pending{gradient};
  bool found = false;
  while (!pending.empty()) {
    const Tensor t = pending.back();
    pending.pop_back();
    if (!t.node()->op() || t.node()->value()) continue;
    if (t.node()->op()->name == "attention_gradient") {
      found = true;
      EXPECT_EQ(flops(t), 2 * 6 * (10.0 * 4 + 5));
    }
    ASSERT_TRUE(t.node()->each_input([&](const Tensor& input) { pending.push_back(input); }));
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace wick
