#include <gtest/gtest.h>

#include "backend/cpu/matmul_dnnl.h"
#include "core/allocate.h"
#include "pass_harness.h"
#include "runtime/arena_pool.h"
#include "support/error_text.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/memory.h"
#include "wick/ops.h"

namespace wick {
namespace {

class PackedWeights : public ::testing::TestWithParam<DType> {
 protected:
  PackedWeights() : before_(packed_weight_bytes()) {}
  void SetUp() override {
    if (!DnnlMatmul::available(GetParam())) GTEST_SKIP() << "no product of this dtype to pack for";
  }
  ~PackedWeights() override { set_packed_weight_limit(limit_); }

  /// Of copies that this test keeps.
  std::uint64_t kept() const { return packed_weight_bytes() - before_; }
  static Tensor weight(const Shape& shape, std::uint64_t seed = 2) {
    const Tensor w = test::normal(shape, GetParam(), seed);
    mark_weight(w);
    return w;
  }
  static void expect_close(const Tensor& actual, const Tensor& expected) {
    EXPECT_LE(test::distance(test::numbers(actual), test::numbers(expected),
                             test::relative_tolerance(GetParam()), test::absolute_tolerance(GetParam())),
              1);
  }

 private:
  std::uint64_t before_;
  std::uint64_t limit_ = packed_weight_limit();
};

INSTANTIATE_TEST_SUITE_P(Dtypes, PackedWeights, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST_P(PackedWeights, EveryProductHasTheSameBitsAndThoseOfTheReferenceWithinRounding) {
  const DType dtype = GetParam();
  for (const std::int64_t rows : {8, 33, 130}) {
    const Tensor x = test::normal({rows, 70}, dtype);
    const Tensor t = test::normal({rows, 45}, dtype, 6);
    const Tensor w = weight({45, 70});
    const Tensor bias = test::normal({45}, dtype, 3);
    const Tensor a = test::normal({3, 70}, DType::f32, 4);
    const Tensor b = test::normal({45, 3}, DType::f32, 5);
    const Tensor narrow_a = cast(a, dtype).eval();
    const Tensor narrow_b = cast(b, dtype).eval();
    const auto all = [&](const Tensor& by) {
      const Tensor adapted = lora_linear(x, by, bias, a, b, 0.5);
      const Tensor by_matrices = matmul(t, by) + matmul(matmul(t, narrow_b), narrow_a) * 0.5;
      return std::vector<Tensor>{linear(x, by),
                                 linear(x, by, bias),
                                 matmul(x, transpose(by)),
                                 matmul(t, by),
                                 adapted,
                                 grad(sum(adapted), {x})[0],
                                 by_matrices,
                                 grad(sum(by_matrices), {t})[0]};
    };
    const std::vector<Tensor> plain = all(test::normal({45, 70}, dtype, 2));
    const std::vector<Tensor> first = all(w);
    eval(plain);
    eval(first);
    for (std::size_t i = 0; i < 4; ++i) expect_close(first[i], plain[i]);  // the others round in between
    for (int times = 0; times < 3; ++times) {
      const std::vector<Tensor> again = all(w);
      eval(again);
      for (std::size_t i = 0; i < first.size(); ++i)
        EXPECT_EQ(test::numbers(again[i]), test::numbers(first[i]));
    }
    const Tensor product = linear(cast(x, DType::f64), cast(w, DType::f64));
    expect_close(first[0], cast(product, dtype));
    expect_close(first[1], cast(product + cast(bias, DType::f64), dtype));
  }
}

TEST_P(PackedWeights, TheCopyIsKeptFromTheSecondProductOnAndDiesWithTheWeight) {
  const Tensor x = test::normal({16, 64}, GetParam());
  {
    const Tensor w = weight({128, 64});
    linear(x, w).eval();
    EXPECT_EQ(kept(), 0u);
    const std::uint64_t planned = plan_memory({linear(x, w)}).packed_bytes;
    EXPECT_GE(planned, w.bytes());
    linear(x, w).eval();
    EXPECT_EQ(kept(), planned);
    linear(test::normal({9, 64}, GetParam()), w).eval();  // other rows, the same copy
    EXPECT_EQ(kept(), planned);
  }
  EXPECT_EQ(kept(), 0u);
}

TEST_P(PackedWeights, AnOverwrittenWeightIsReadAnew) {
  const Tensor x = test::normal({16, 64}, GetParam());
  Tensor w = weight({128, 64});
  for (int i = 0; i < 2; ++i) linear(x, w).eval();
  EXPECT_GT(kept(), 0u);
  const Tensor twice = linear(x, w) * 2.0;
  eval({twice}, History::drop);
  w = w * 2.0;
  eval({w}, History::drop);  // in the memory of the old one
  EXPECT_EQ(kept(), 0u);
  expect_close(linear(x, w), twice);
  mark_weight(w);
  for (int i = 0; i < 3; ++i) expect_close(linear(x, w), twice);
  EXPECT_GT(kept(), 0u);
}

TEST_P(PackedWeights, PartsOfOneWeightAreKeptApart) {
  const Tensor x = test::normal({16, 64}, GetParam());
  const Tensor w = weight({128, 64});
  const Tensor whole = linear(x, w);
  whole.eval();
  for (int times = 0; times < 3; ++times)
    for (const std::int64_t first : {0, 64})
      expect_close(linear(x, slice(w, 0, first, first + 64)), slice(whole, 1, first, first + 64));
}

TEST_P(PackedWeights, NothingIsPackedBeyondTheLimit) {
  const Tensor x = test::normal({16, 64}, GetParam());
  const Tensor w = weight({128, 64});
  set_packed_weight_limit(0);
  EXPECT_EQ(plan_memory({linear(x, w)}).packed_bytes, 0u);
  set_packed_weight_limit(8 * w.bytes());
  const Tensor other = weight({512, 64}, 7);  // more than a weight's share of the limit
  const Tensor both = sum(linear(x, w)) + sum(linear(x, other));
  EXPECT_EQ(plan_memory({both}).packed_bytes, plan_memory({linear(x, w)}).packed_bytes);
}

TEST_P(PackedWeights, NothingIsKeptBeyondTheMemoryLimit) {
  const Tensor x = test::normal({16, 64}, GetParam());
  const Tensor w = weight({128, 64});
  release_idle_arenas(cpu_backend());
  linear(x, w).eval();  // leaves its arena behind, which is held
  for (int i = 0; i < 3; ++i) {
    const Tensor y = linear(x, w);
    set_memory_limit(held_bytes() + y.bytes());
    y.eval();
    set_memory_limit(std::nullopt);
  }
  EXPECT_EQ(kept(), 0u);
}

TEST(MarkWeight, AnEmptyTensorIsNone) {
  EXPECT_EQ(wick::testing::error_text<ArgumentError>([] { mark_weight(Tensor{}); }),
            "mark_weight: an empty tensor was given");
}

}  // namespace
}  // namespace wick
