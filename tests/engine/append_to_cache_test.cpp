#include "optimize/append_to_cache.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend_with.h"
#include "optimize/print.h"
#include "optimize/verify.h"
#include "pass_harness.h"
#include "support/test_device.h"
#include "wick/optimize.h"

namespace wick {
namespace {

Graph fused(const std::vector<Tensor>& outputs) {
  static const test::BackendWith backend({"append_attention"});
  Graph graph = append_to_cache(test::graph_of(outputs), backend.context());
  verify(graph, "append-to-cache");
  return graph;
}

struct Sizes {
  std::int64_t batch = 1;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t n = 24;
  std::int64_t d = 16;
  std::int64_t window = 0;
};

/// Queries, keys and values lie in one tensor, as the projections leave them.
struct Position {
  explicit Position(const Sizes& s, DType dtype = DType::f32, Device device = cpu, std::int64_t length = 1)
      : sizes(s),
        projected(test::normal({s.batch, length, (s.heads + 2 * s.kv_heads) * s.d}, dtype).to(device)),
        angles(test::normal({1, length, s.d / 2}, DType::f32, 2).to(device)),
        k_cache(test::normal({s.batch, s.kv_heads, s.n, s.d}, dtype, 3).to(device)),
        v_cache(test::normal({s.batch, s.kv_heads, s.n, s.d}, dtype, 4).to(device)) {}

  Tensor heads(std::int64_t first, std::int64_t count) const {
    const Tensor part = slice(projected, 2, first * sizes.d, (first + count) * sizes.d);
    return permute(reshape(part, {sizes.batch, projected.dim(1), count, sizes.d}), {0, 2, 1, 3});
  }
  /// The attention and both caches.
  std::vector<Tensor> at(std::int64_t position, bool causal = true) {
    const Tensor offset = Tensor::scalar<std::int64_t>(position);
    const Tensor c = cos(angles);
    const Tensor s = sin(angles);
    k_cache = slice_update(k_cache, rope(heads(sizes.heads, sizes.kv_heads), c, s), offset, 2);
    v_cache = slice_update(v_cache, heads(sizes.heads + sizes.kv_heads, sizes.kv_heads), offset, 2);
    AttentionOptions options;
    options.causal = causal;
    options.window = sizes.window;
    return {attention(rope(heads(0, sizes.heads), c, s), k_cache, v_cache, options, {}, offset), k_cache,
            v_cache};
  }
  Sizes sizes;
  Tensor projected;
  Tensor angles;
  Tensor k_cache;
  Tensor v_cache;
};

TEST(AppendToCache, APositionIsOneOpThatUpdatesBothCaches) {
  const Graph graph = fused(Position({}).at(5));
  EXPECT_EQ(test::count_op(graph, "append_attention"), 1u);
  EXPECT_EQ(test::count_op(graph, "pick"), 2u);
  for (const char* op : {"attention", "rope", "slice_update"})
    EXPECT_EQ(test::count_op(graph, op), 0u) << print(graph);
}

TEST(AppendToCache, OtherAttentionStays) {
  EXPECT_EQ(test::count_op(fused(Position({}, DType::f32, cpu, 2).at(5)), "attention"), 1u)
      << "two positions";
  EXPECT_EQ(test::count_op(fused(Position({}).at(5, false)), "attention"), 1u) << "not causal";
  std::vector<Tensor> outputs = Position({}).at(5);
  outputs.push_back(sum(outputs[1]));
  EXPECT_EQ(test::count_op(fused(outputs), "attention"), 1u) << "a cache that others read";
  const Graph before = test::graph_of(Position({}).at(5));
  EXPECT_EQ(print(append_to_cache(before, test::pass_context())), print(before));
}

class AppendToCacheOnGpu : public ::testing::TestWithParam<Sizes> {};

TEST_P(AppendToCacheOnGpu, GivesTheSameNumbersInPlaceAndBeside) {
  WICK_NEEDS_GPU();
  for (const DType dtype : {DType::bf16, DType::f16})
    for (const std::int64_t position :
         {std::int64_t{0}, GetParam().n / 2, GetParam().n - 1, GetParam().n + 3}) {
      const Position start(GetParam(), dtype, test::first_gpu());
      // Each run begins with caches that somebody else holds, and goes on in those that it got.
      const auto run = [&] {
        Position p = start;
        std::vector<Tensor> all;
        for (std::int64_t i = 0; i < 3; ++i) {
          const std::vector<Tensor> outputs = p.at(position + i);
          eval(outputs, History::drop);
          all.push_back(outputs[0]);
        }
        all.push_back(p.k_cache);
        all.push_back(p.v_cache);
        return all;
      };
      const std::vector<Tensor> with = run();
      const DisablePassesScope without_pass({"append-to-cache"});
      const std::vector<Tensor> without = run();
      for (std::size_t i = 0; i < with.size(); ++i)
        // Averages of numbers near 1 cancel: the tolerance is relative to those.
        EXPECT_LE(test::distance(test::numbers(with[i]), test::numbers(without[i]),
                                 test::relative_tolerance(dtype), test::relative_tolerance(dtype)),
                  1)
            << "output " << i << " at position " << position;
      EXPECT_EQ(test::numbers(with[4]), test::numbers(without[4])) << "the cache of values";
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AppendToCacheOnGpu,
                         ::testing::Values(Sizes{}, Sizes{.batch = 3, .heads = 14, .n = 300, .d = 64},
                                           Sizes{.heads = 16, .kv_heads = 1, .n = 2100, .d = 128},
                                           Sizes{.batch = 2, .n = 700, .d = 24, .window = 200},
                                           Sizes{.batch = 80, .heads = 6, .n = 40, .d = 8},
                                           Sizes{.heads = 2, .n = 1, .d = 80}));

}  // namespace
}  // namespace wick
