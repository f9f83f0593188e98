#include "optimize/join_siblings.h"

#include <gtest/gtest.h>

#include "backend_with.h"
#include "core/storage.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/optimize.h"

namespace wick {
namespace {

using test::normal;

Graph joined(const std::vector<Tensor>& outputs) {
  static const test::BackendWith backend({"linears"});
  Graph graph = join_siblings(test::graph_of(outputs), backend.context());
  verify(graph, "join-siblings");
  return graph;
}

struct Layers {
  Tensor x = normal({5, 16});
  Tensor layer(std::int64_t out, bool bias = false) const {
    return linear(x, normal({out, 16}), bias ? normal({out}) : Tensor{});
  }
};

TEST(JoinSiblings, LayersOfOneInputAreOneStep) {
  const Layers l;
  const Graph graph = joined({tanh(l.layer(8, true)), l.layer(4), exp(l.layer(6, true))});
  const GraphNode& step = test::only(graph, "linears");
  std::vector<Shape> shapes;
  for (const Spec& spec : graph.result_specs(step)) shapes.push_back(spec.shape);
  EXPECT_EQ(shapes, (std::vector<Shape>{{5, 8}, {5, 4}, {5, 6}}));
  EXPECT_EQ(step.inputs.size(), 6u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "linear"), 0u) << print(graph);
  EXPECT_EQ(test::count_op(graph, "pick"), 2u) << print(graph);
}

TEST(JoinSiblings, LayersOfOtherInputsStayApart) {
  const Layers l;
  const Layers other{normal({5, 16}, DType::f32, 9)};
  const Graph graph = joined({l.layer(8), other.layer(8)});
  EXPECT_EQ(test::count_op(graph, "linear"), 2u) << print(graph);
}

TEST(JoinSiblings, ALayerThatNeedsItsSiblingStaysBehindIt) {
  const Layers l;
  const Tensor y = l.layer(8);
  const Graph graph = joined({linear(l.x, normal({3, 16}) * sum(y)), y});
  EXPECT_EQ(test::count_op(graph, "linear"), 2u) << print(graph);
}

TEST(JoinSiblings, AGraphStaysAsItIsWithoutAKernel) {
  const Layers l;
  const Graph before = test::graph_of({l.layer(8), l.layer(4)});
  EXPECT_EQ(print(join_siblings(before, test::pass_context())), print(before));
}

/// In f32 they are none; in bf16 where AMX is. Rows of less and of more than a tile, x in place and copied.
TEST(JoinSiblings, ResultsAreThoseOfTheLayersBitByBit) {
  for (const Shape& x_shape : {Shape{8, 256}, Shape{3, 11, 300}, Shape{64, 2048}, Shape{130, 1408}}) {
    const Tensor x = normal(x_shape, DType::bf16);
    std::vector<Tensor> weights;
    for (std::int64_t out : {200, 33, 64}) {
      weights.push_back(normal({out, x_shape.dim(-1)}, DType::bf16, 3));
      weights.back().node()->value()->storage->mark_weight();
    }
    const Tensor bias = normal({33});
    const auto record = [&] {
      return std::vector<Tensor>{linear(x, weights[0]), linear(x, weights[1], bias), linear(x, weights[2])};
    };
    const std::vector<Tensor> together = record();
    const std::vector<Tensor> apart = record();
    for (int run = 0; run < 2; ++run) eval(together);
    const DisablePassesScope without({"join-siblings"});
    eval(apart);
    for (std::size_t i = 0; i < apart.size(); ++i)
      EXPECT_EQ(cast(together[i], DType::f32).to_vector<float>(),
                cast(apart[i], DType::f32).to_vector<float>())
          << x_shape.str() << ", layer " << i;
  }
}

}  // namespace
}  // namespace wick
