#include "optimize/sink_reshapes.h"

#include <gtest/gtest.h>

#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph sunk(const std::vector<Tensor>& outputs) {
  Graph graph = sink_reshapes(test::graph_of(outputs), test::pass_context());
  verify(graph, "sink-reshapes");
  return graph;
}

const Tensor wide() { return test::normal({2, 3, 5}); }
const Tensor rows() { return test::normal({6, 5}, DType::f32, 2); }

TEST(SinkReshapes, OpsAheadOfAReshapeRunInTheShapeOfTheirReaders) {
  const Tensor made = cast(matmul(rows(), test::normal({5, 5})), DType::f64) * 2;
  const Graph graph = sunk({reshape(made, {2, 3, 5}) + cast(wide(), DType::f64)});
  EXPECT_EQ(test::count_op(graph, "reshape"), 1u) << print(graph);
  EXPECT_EQ(graph.nodes[test::only(graph, "reshape").inputs[0]].op->name, "matmul");
  EXPECT_EQ(test::only(graph, "mul").spec.shape, (Shape{2, 3, 5}));
}

TEST(SinkReshapes, OneReshapeServesAllWhoReadIt) {
  const Tensor x = rows();
  const Tensor squares = square(x);
  const Tensor product = exp(x) * tanh(x);
  const Graph graph = sunk({reshape(squares, {2, 3, 5}) + wide(), reshape(product, {2, 3, 5}) * wide(),
                            sum(reshape(x, {2, 3, 5}), {0})});
  EXPECT_EQ(test::count_op(graph, "reshape"), 1u) << print(graph);
  for (const char* op : {"square", "exp", "tanh"})
    EXPECT_EQ(test::only(graph, op).spec.shape, (Shape{2, 3, 5})) << op;
}

TEST(SinkReshapes, WhatWouldGainNothingStays) {
  const auto shape_of_exp = [](const std::vector<Tensor>& outputs) {
    return test::only(sunk(outputs), "exp").spec.shape;
  };
  const Tensor e = exp(rows());
  const Tensor seen = reshape(e, {2, 3, 5});
  EXPECT_EQ(shape_of_exp({seen + wide()}), (Shape{2, 3, 5}));
  EXPECT_EQ(shape_of_exp({matmul(seen, test::normal({5, 2}))}), (Shape{6, 5})) << "no elementwise reader";
  EXPECT_EQ(shape_of_exp({seen + wide(), e}), (Shape{6, 5})) << "read as it is, too";
  EXPECT_EQ(shape_of_exp({seen + wide(), sum(e, {0})}), (Shape{6, 5})) << "read as it is, too";
  const Tensor turned = exp(transpose(test::normal({5, 6})));
  EXPECT_EQ(shape_of_exp({reshape(turned, {2, 3, 5}) + wide()}), (Shape{6, 5}))
      << "the operand would have to be copied";
  const Tensor broadcast = exp(rows() + test::normal({5}));
  EXPECT_EQ(test::only(sunk({reshape(broadcast, {2, 3, 5}) * wide()}), "add").spec.shape, (Shape{6, 5}));
}

TEST(SinkReshapes, GivesTheSameNumbers) {
  test::expect_same_results("sink-reshapes", [] {
    const Tensor x = rows();
    const Tensor scaled = (exp(x) + test::normal({5}, DType::f32, 3)) * 0.5;
    return std::vector<Tensor>{
        reshape(scaled, {2, 3, 5}) * wide(),
        sum(reshape(cast(matmul(x, test::normal({5, 4}, DType::f32, 4)), DType::f64), {2, 12}) - 1.5, {1}),
        reshape(exp(transpose(x)), {3, 10}) + 1};
  });
}

}  // namespace
}  // namespace wick
