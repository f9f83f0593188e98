#include "optimize/fuse_low_rank.h"

#include <gtest/gtest.h>

#include "optimize/dead_nodes.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"

namespace wick {
namespace {

Graph fused(const std::vector<Tensor>& outputs) {
  Graph graph = fuse_low_rank(test::graph_of(outputs), test::pass_context());
  verify(graph, "fuse-low-rank");
  return eliminate_dead_nodes(graph, test::pass_context());
}

/// The factors of an adapter, and x of another dtype where it is narrow.
struct Adapter {
  explicit Adapter(DType dtype = DType::f32) : x(test::normal({5, 24}, dtype)) {}
  Tensor x;
  Tensor a = test::normal({3, 24}, DType::f32, 2);
  Tensor b = test::normal({16, 3}, DType::f32, 3);
};

TEST(FuseLowRank, TheScaleMayStandAtEitherProduct) {
  const Adapter p;
  for (const Tensor& delta :
       {linear(linear(p.x, p.a), p.b) * 2.0, 2.0 * linear(linear(p.x, p.a), p.b),
        linear(linear(p.x, p.a) * 2.0, p.b), matmul(matmul(p.x, transpose(p.a)), transpose(p.b)) * 2.0}) {
    const Graph graph = fused({delta});
    EXPECT_EQ(test::only(graph, "low_rank").op->describe(test::only(graph, "low_rank").attrs), "scale=2");
    EXPECT_EQ(graph.nodes.size(), 4u) << print(graph);
  }
}

TEST(FuseLowRank, FactorsAreReadAsTheyAreKept) {
  const Adapter p(DType::bf16);
  const Tensor a = cast(p.a, DType::bf16);
  const Tensor b = cast(p.b, DType::bf16);
  const Graph graph = fused({linear(linear(p.x, a), b) * 2.0});
  EXPECT_EQ(test::count_op(graph, "low_rank"), 1u);
  EXPECT_EQ(test::count_op(graph, "cast"), 0u) << print(graph);
}

TEST(FuseLowRank, WhatIsReadElsewhereOrThickStays) {
  const Adapter p;
  const Tensor down = linear(p.x, p.a);
  EXPECT_EQ(test::count_op(fused({linear(down, p.b) * 2.0, down}), "low_rank"), 0u);
  EXPECT_EQ(test::count_op(fused({linear(down, p.b) * 2.0, sum(down)}), "low_rank"), 0u);
  const Tensor thick = linear(linear(p.x, test::normal({9, 24})), test::normal({16, 9}));
  EXPECT_EQ(test::count_op(fused({thick * 2.0}), "low_rank"), 0u);
  const Tensor not_transposed = matmul(matmul(p.x, transpose(p.a)), test::normal({3, 16})) * 2.0;
  EXPECT_EQ(test::count_op(fused({not_transposed}), "low_rank"), 0u);
  const Tensor by_a_tensor = linear(linear(p.x, p.a), p.b) * test::normal({16});
  EXPECT_EQ(test::count_op(fused({by_a_tensor}), "low_rank"), 0u);
}

TEST(FuseLowRank, GivesTheSameNumbers) {
  for (const DType dtype : {DType::f32, DType::bf16})
    test::expect_same_results("fuse-low-rank", [dtype] {
      const Adapter p(dtype);
      return std::vector<Tensor>{
          linear(linear(p.x, cast(p.a, dtype)), cast(p.b, dtype)) * 0.5,
          matmul(matmul(p.x, transpose(cast(p.a, dtype))), transpose(cast(p.b, dtype))) * 0.5};
    });
}

}  // namespace
}  // namespace wick
