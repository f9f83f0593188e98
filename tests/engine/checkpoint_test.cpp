#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "graph/node.h"
#include "graph/walk.h"
#include "support/error_text.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/ops.h"

namespace wick {
namespace {

using Function = std::function<Tensor(std::span<const Tensor>)>;

Tensor numbers(const Shape& shape, std::uint64_t seed) {
  return random_normal(random_key(seed), shape).detach();
}

/// Expects that sum(f(inputs)) has the same bits, and so have its gradients, with and without a checkpoint.
void expect_same_gradients(const Function& f, const std::vector<Tensor>& inputs,
                           const std::vector<Tensor>& targets) {
  const Tensor kept = sum(f(inputs));
  const Tensor again = sum(checkpoint(f, inputs));
  EXPECT_EQ(kept.item<float>(), again.item<float>());
  const std::vector<Tensor> expected = grad(kept, targets);
  const std::vector<Tensor> found = grad(again, targets);
  eval(found);
  for (std::size_t i = 0; i < targets.size(); ++i)
    EXPECT_EQ(expected[i].to_vector<float>(), found[i].to_vector<float>()) << "target " << i;
}

TEST(Checkpoint, GradientsReachInputsAndDataThatIsUsedBesides) {
  const Tensor w = numbers({5, 3}, 1);
  const Tensor b = numbers({3}, 2);
  const Tensor x = numbers({4, 5}, 3);
  const Tensor y = numbers({4, 3}, 4);
  expect_same_gradients([&](auto in) { return tanh(matmul(in[0], w) + b) * in[1]; }, {x, y}, {x, y, w, b});
}

TEST(Checkpoint, GradientsReachWhatWasComputedOutside) {
  const Tensor a = numbers({7}, 1);
  const Tensor x = numbers({7}, 2);
  const Tensor scale = exp(a);
  const Tensor start = sin(x);
  expect_same_gradients([&](auto in) { return sigmoid(in[0] * scale) * scale; }, {start}, {a, x});
}

TEST(Checkpoint, SegmentsMayHoldSegments) {
  const Tensor x = numbers({6}, 1);
  const Function inner = [](auto in) { return exp(sin(in[0])); };
  expect_same_gradients([&](auto in) { return tanh(checkpoint(inner, {in[0] * 2.0})) * in[0]; }, {x}, {x});
}

TEST(Checkpoint, AnInputMayBeGivenTwiceReturnedOrNotUsed) {
  const Tensor x = numbers({3}, 1);
  const Tensor y = numbers({3}, 2);
  expect_same_gradients([](auto in) { return in[0] * exp(in[1]); }, {x, x}, {x});
  expect_same_gradients([](auto in) { return in[0]; }, {x, y}, {x, y});
  expect_same_gradients([&](auto) { return y; }, {x}, {x, y});
  expect_same_gradients([](auto in) { return exp(stop_gradient(in[0])) * in[1]; }, {x, y}, {x, y});
}

TEST(Checkpoint, DropoutFallsTheSameWay) {
  const Tensor x = numbers({64}, 1);
  const Tensor key = random_key(9);
  expect_same_gradients([&](auto in) { return exp(dropout(in[0], 0.5, key)); }, {x}, {x});
}

TEST(Checkpoint, HasASecondDerivative) {
  const Tensor x = Tensor::from(std::vector<double>{0.3, -1.2}, {2});
  const Tensor once = grad(sum(checkpoint([](auto in) { return sin(in[0]); }, {x})), {x})[0];
  const std::vector<double> twice = grad(sum(once), {x})[0].to_vector<double>();
  EXPECT_DOUBLE_EQ(twice[0], -std::sin(0.3));
  EXPECT_DOUBLE_EQ(twice[1], -std::sin(-1.2));
}

TEST(Checkpoint, WorksEagerly) {
  const Tensor x = numbers({9}, 1);
  const EagerScope eager;
  expect_same_gradients([](auto in) { return exp(sin(in[0])) * in[0]; }, {x}, {x});
}

TEST(Checkpoint, WhatDoesNotDependOnTheInputsIsNotRepeated) {
  const Tensor x = numbers({8}, 1);
  const Tensor table = exp(numbers({8}, 2));
  const auto count = [](const Tensor& root, std::string_view op) {
    const Walk graph = walk(std::span(&root, 1), WalkThrough::everything);
    return std::count_if(graph.order.begin(), graph.order.end(),
                         [&](const Node* n) { return n->op() && n->op()->name == op; });
  };
  const Tensor g = grad(sum(checkpoint([&](auto in) { return tanh(in[0] * table); }, {x})), {x})[0];
  EXPECT_EQ(count(g, "exp"), 1);
  EXPECT_GT(count(g, "checkpoint_barrier"), 0);
}

/// Each segment holds several values of the size of its input at once; with checkpoints only the inputs stay.
TEST(Checkpoint, IntermediateValuesAreNotKept) {
  const Tensor x = numbers({32, 32}, 1);
  const Tensor w = numbers({32, 32}, 2);
  const Function block = [&](auto in) { return in[0] + matmul(tanh(matmul(sin(matmul(in[0], w)), w)), w); };
  const auto planned = [&](bool checkpoints, int depth) {
    Tensor y = x;
    for (int i = 0; i < depth; ++i) y = checkpoints ? checkpoint(block, {y}) : block(std::span(&y, 1));
    return plan_memory(grad(sum(y), {x, w})).arena_bytes;
  };
  const std::uint64_t value = x.bytes();
  EXPECT_LE(planned(true, 24) - planned(true, 12), 12 * value);
  EXPECT_GE(planned(false, 24) - planned(false, 12), 12 * 3 * value);
}

TEST(Checkpoint, RefusesEmptyTensors) {
  const Tensor x = zeros({2});
  const Function nothing = [](auto) { return Tensor{}; };
  const Function identity = [](auto in) { return in[0]; };
  EXPECT_EQ(wick::testing::error_text<ArgumentError>([&] { checkpoint(nothing, {x}); }),
            "checkpoint: the function returned an empty tensor");
  EXPECT_EQ(wick::testing::error_text<ArgumentError>([&] { checkpoint(identity, {Tensor{}}); }),
            "checkpoint: an empty tensor was given");
}

}  // namespace
}  // namespace wick
