#include <gtest/gtest.h>

#include <algorithm>

#include "ops/array_walk.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

std::int64_t resolved(double index, std::int64_t size) {
  const auto i = static_cast<std::int64_t>(index);
  return i < 0 ? i + size : i;
}

OpCase indexing(std::string name, std::vector<OpInput> inputs, std::vector<std::vector<Shape>> shapes,
                OpFunction op, Reference reference) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .shapes = std::move(shapes),
          .op = std::move(op),
          .reference = std::move(reference),
          .dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}};
}

OpCase moving(OpCase op_case) {
  op_case.dtypes = all_dtypes;
  op_case.tolerance = exact;
  return op_case;
}

Array taken(const Array& x, const Array& indices, int axis) {
  std::vector<std::int64_t> dims(x.shape.dims().begin(), x.shape.dims().begin() + axis);
  dims.insert(dims.end(), indices.shape.dims().begin(), indices.shape.dims().end());
  dims.insert(dims.end(), x.shape.dims().begin() + axis + 1, x.shape.dims().end());
  return build(Shape(std::span<const std::int64_t>(dims)), [&](const Position& at) {
    const auto middle = at.begin() + axis;
    const Position place(middle, middle + indices.shape.rank());
    Position from(at.begin(), middle);
    from.push_back(resolved(element(indices, place), x.shape[axis]));
    from.insert(from.end(), middle + indices.shape.rank(), at.end());
    return element(x, from);
  });
}

OpCase take_case(const std::string& name, int axis, OpInput indices, std::vector<std::vector<Shape>> shapes) {
  return moving(indexing(
      name, {{.draw = integers(0, 9)}, std::move(indices)}, std::move(shapes),
      [axis](std::span<const Tensor> x) { return take(x[0], x[1], axis); },
      [axis](std::span<const Array> x) { return taken(x[0], x[1], x[0].shape.normalize_axis(axis)); }));
}

Position along(Position at, int axis, double index, std::int64_t size) {
  at[z(axis)] = resolved(index, size);
  return at;
}

OpCase take_along_case(const std::string& name, int axis, OpInput indices,
                       std::vector<std::vector<Shape>> shapes) {
  return moving(indexing(
      name, {{.draw = integers(0, 9)}, std::move(indices)}, std::move(shapes),
      [axis](std::span<const Tensor> x) { return take_along_axis(x[0], x[1], axis); },
      [axis](std::span<const Array> x) {
        const int d = x[0].shape.normalize_axis(axis);
        return build(x[1].shape, [&](const Position& at) {
          return element(x[0], along(at, d, element(x[1], at), x[0].shape[d]));
        });
      }));
}

OpCase scatter_case(const std::string& name, bool adds, int axis, OpInput indices,
                    std::vector<std::vector<Shape>> shapes) {
  OpCase op_case = indexing(
      name, {{.draw = integers(0, 9)}, std::move(indices), {.draw = integers(0, 9)}}, std::move(shapes),
      [=](std::span<const Tensor> x) {
        return adds ? scatter_add(x[0], x[1], x[2], axis) : scatter(x[0], x[1], x[2], axis);
      },
      [=](std::span<const Array> x) {
        Array result = x[0];
        const int d = x[0].shape.normalize_axis(axis);
        for_each_position(x[1].shape, [&](const Position& at) {
          double& target = element(result, along(at, d, element(x[1], at), x[0].shape[d]));
          target = element(x[2], at) + (adds ? target : 0);
        });
        return result;
      });
  return adds ? op_case : moving(op_case);
}

OpCase index_add_case(const std::string& name, OpInput indices, std::vector<std::vector<Shape>> shapes) {
  return indexing(
      name, {{.draw = integers(0, 5)}, std::move(indices), {.draw = integers(0, 5)}}, std::move(shapes),
      [](std::span<const Tensor> x) { return index_add(x[0], x[1], x[2]); },
      [](std::span<const Array> x) {
        Array result = x[0];
        for_each_position(x[2].shape, [&](const Position& at) {
          const double index = element(x[1], {at[0]});
          element(result, along(at, 0, index, x[0].shape[0])) += element(x[2], at);
        });
        return result;
      });
}

OpInput index_input(std::int64_t low, std::int64_t high, DType dtype = DType::i64) {
  return {.draw = integers(low, high), .dtype = dtype};
}

const bool registered = register_op_cases(
    "IndexingOps", {take_case("take_rows", 0, index_input(-5, 4),
                              {{{5, 3}, {4}},
                               {{5}, {2, 3}},
                               {{5, 2, 3}, Shape{}},
                               {{5, 7}, {0}},
                               {{5, 0}, {3}},
                               {{5, 129}, {30, 11}}}),
                    take_case("take_last", -1, index_input(-3, 2, DType::i32),
                              {{{4, 3}, {5}}, {{2, 2, 3}, {2, 1}}, {{700, 3}, {40}}}),
                    take_case("take_middle", 1, index_input(0, 3),
                              {{{2, 4, 3}, {2, 3}}, {{1, 4, 1}, {1}}, {{0, 4, 2}, {3}}}),
                    take_along_case("take_along_last", -1, index_input(-4, 3),
                                    {{{3, 4}, {3, 2}}, {{4}, {9}}, {{2, 3, 4}, {2, 3, 1}}}),
                    take_along_case("take_along_first", 0, index_input(0, 2, DType::i32),
                                    {{{3, 4}, {5, 4}}, {{3, 4}, {0, 4}}, {{3, 40, 30}, {17, 40, 30}}}),
                    take_along_case("take_along_middle", 1, index_input(0, 2),
                                    {{{2, 3, 4}, {2, 5, 4}}, {{7, 3, 1}, {7, 1, 1}}}),
                    index_add_case("index_add", index_input(-5, 4),
                                   {{{5, 3}, {4}, {4, 3}},
                                    {{5}, {7}, {7}},
                                    {{5, 2, 3}, {1}, {1, 2, 3}},
                                    {{5, 3}, {0}, {0, 3}},
                                    {{5, 3}, {5}, {5, 3}},
                                    {{5, 0}, {2}, {2, 0}},
                                    {{5, 4000}, {13}, {13, 4000}}}),
                    index_add_case("index_add_i32", index_input(0, 2, DType::i32), {{{3, 67}, {9}, {9, 67}}}),
                    scatter_case("scatter_add_last", true, -1, index_input(-4, 3),
                                 {{{3, 4}, {3, 2}, {3, 2}},
                                  {{4}, {4}, {4}},
                                  {{2, 3, 4}, {2, 3, 5}, {2, 3, 5}},
                                  {{3, 4}, {3, 0}, {3, 0}}}),
                    scatter_case("scatter_add_first", true, 0, index_input(0, 2, DType::i32),
                                 {{{3, 4}, {5, 4}, {5, 4}}, {{3, 70, 90}, {4, 70, 90}, {4, 70, 90}}}),
                    scatter_case("scatter_last", false, -1, index_input(-4, 3),
                                 {{{3, 4}, {3, 2}, {3, 2}},
                                  {{4}, {4}, {4}},
                                  {{2, 3, 4}, {2, 3, 5}, {2, 3, 5}},
                                  {{0, 4}, {0, 2}, {0, 2}}}),
                    scatter_case("scatter_middle", false, 1, index_input(0, 2),
                                 {{{2, 3, 5}, {2, 4, 5}, {2, 4, 5}}, {{2, 3, 1}, {2, 3, 1}, {2, 3, 1}}})});

Tensor indices_of(const std::vector<std::int64_t>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

TEST(IndexingOps, EmbeddingGradientAddsRepeatedRows) {
  const Tensor table = ones({4, 2}).eval();
  const Tensor ids = Tensor::from(std::vector<std::int64_t>{1, 3, 1, -1}, {2, 2});
  const Tensor rows = embedding(table, ids);
  EXPECT_EQ(rows.shape(), (Shape{2, 2, 2}));
  EXPECT_EQ(grad(sum(rows), {table})[0].to_vector<float>(), (std::vector<float>{0, 0, 2, 2, 0, 0, 2, 2}));
}

TEST(IndexingOps, ManySmallUpdatesOfHalfPrecisionAreNotLost) {
  // In bf16 itself the sum would stop at 256, where adding 1 changes nothing any more.
  for (DType dtype : {DType::bf16, DType::f16}) {
    const Tensor updates = ones({1000, 2}, dtype);
    const Tensor x = index_add(zeros({3, 2}, dtype), zeros({1000}, DType::i64), updates);
    expect_close(x, {{3, 2}, {1000, 1000, 0, 0, 0, 0}}, {}, "index_add");
    const Tensor y = scatter_add(zeros({3, 2}, dtype), zeros({1000, 2}, DType::i64), updates, 0);
    expect_close(y, {{3, 2}, {1000, 1000, 0, 0, 0, 0}}, {}, "scatter_add");
  }
}

TEST(IndexingOps, UpdatesThatDieMayNotBeOverwrittenTooEarly) {
  const Tensor x = arange(4, DType::f32).eval();
  const Tensor turned = indices_of({3, 2, 1, 0});
  EXPECT_EQ(scatter(x, turned, x * 10, 0).to_vector<float>(), (std::vector<float>{30, 20, 10, 0}));
  EXPECT_EQ(scatter_add(x + 1, turned, x * 10, 0).to_vector<float>(), (std::vector<float>{31, 22, 13, 4}));
  const Tensor y = x * 2;
  EXPECT_EQ(scatter_add(y, turned, y, 0).to_vector<float>(), (std::vector<float>{6, 6, 6, 6}));
  EXPECT_EQ(index_add(x, turned, x * 10).to_vector<float>(), (std::vector<float>{30, 21, 12, 3}));
  const Tensor i = turned + 0;
  EXPECT_EQ(scatter(turned, i, i * 2, 0).to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 2, 4, 6}));
}

TEST(IndexingOps, TheLastOfRepeatedIndicesWinsAndGetsTheGradient) {
  const Tensor x = zeros({3}).eval();
  const Tensor updates = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor result = scatter(x, indices_of({1, 1, 0}), updates, 0);
  EXPECT_EQ(result.to_vector<float>(), (std::vector<float>{3, 2, 0}));
  const std::vector<Tensor> gradients =
      grad(sum(result * Tensor::from(std::vector<float>{5, 6, 7}, {3})), {x, updates});
  EXPECT_EQ(gradients[0].to_vector<float>(), (std::vector<float>{0, 0, 7}));
  EXPECT_EQ(gradients[1].to_vector<float>(), (std::vector<float>{0, 6, 5}));
}

TEST(IndexingOps, RepeatedAdditionsDoNotDependOnThreads) {
  std::vector<std::int64_t> ids(3000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * i % 7);
  const Tensor updates = sin(reshape(arange(3000 * 65, DType::f32), {3000, 65})).eval();
  const auto run = [&] { return index_add(zeros({7, 65}), indices_of(ids), updates).to_vector<float>(); };
  const int before = threads();
  set_threads(1);
  const std::vector<float> one = run();
  set_threads(3);
  const std::vector<float> three = run();
  set_threads(before);
  EXPECT_EQ(one, three);
}

TEST(IndexingOps, OneHotIsZeroOutOfRange) {
  const Tensor hot = one_hot(indices_of({2, -1, 0, 3}), 3);
  EXPECT_EQ(hot.dtype(), DType::f32);
  expect_close(hot, {{4, 3}, {0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0}}, {}, "one_hot");
  EXPECT_EQ(one_hot(cast(indices_of({1}), DType::i32), 2, DType::bool_).to_vector<bool>(),
            (std::vector<bool>{false, true}));
}

TEST(IndexingOps, AnIndexOutOfRangeIsReportedWithItsPlace) {
  const Tensor x = ones({3, 2});
  expect_error<ArgumentError>(
      [&] {
        take(x, indices_of({0, 3})).eval();
      },
      {"take: index 3 is out of range for a dimension of size 3", "indexing_test.cpp:"});
  expect_error<ArgumentError>([&] { take(x, indices_of({-4})).eval(); }, {"index -4", "size 3"});
  expect_error<ArgumentError>(
      [&] {
        take_along_axis(x, full({1, 2}, 7, DType::i32), 0).eval();
      },
      {"take_along_axis: index 7", "size 3"});
  expect_error<ArgumentError>(
      [&] {
        index_add(x, indices_of({5}), ones({1, 2})).eval();
      },
      {"index_add: index 5"});
  expect_error<ArgumentError>(
      [&] {
        scatter_add(x, full({1, 2}, 3, DType::i64), ones({1, 2}), 0).eval();
      },
      {"scatter_add: index 3"});
  expect_error<ArgumentError>(
      [&] {
        scatter(x, full({3, 1}, 2, DType::i64), ones({3, 1}), 1).eval();
      },
      {"scatter: index 2", "size 2"});
  expect_error<ArgumentError>([&] { take(zeros({0, 2}), indices_of({0})).eval(); }, {"index 0", "size 0"});
}

TEST(IndexingOps, ErrorsSayWhatIsWrong) {
  const Tensor x = ones({3, 2});
  const Tensor one = indices_of({0});
  expect_error<DTypeError>([&] { take(x, ones({2})); }, {"take: indices must be i32 or i64, not f32"});
  expect_error<ShapeError>([&] { take(x, one, 2); }, {"take: axis 2 is out of range for shape [3, 2]"});
  expect_error<ShapeError>([&] { embedding(one, one); }, {"embedding: the table must be [vocabulary, dim]"});
  expect_error<ShapeError>([&] { take_along_axis(x, one, 0); }, {"the indices [1]", "[3, 2]", "dimension 0"});
  expect_error<ShapeError>([&] { take_along_axis(x, zeros({2, 2}, DType::i64), 1); }, {"the indices [2, 2]"});
  expect_error<ShapeError>(
      [&] {
        index_add(x, one, ones({2, 2}));
      },
      {"the updates must be [1, 2], not [2, 2]"});
  expect_error<DTypeError>(
      [&] {
        index_add(x, one, ones({1, 2}, DType::f16));
      },
      {"the updates are f16, but x is f32"});
  expect_error<DTypeError>([&] { index_add(equal(x, x), one, equal(ones({1, 2}), 1)); }, {"not bool"});
  expect_error<ShapeError>(
      [&] {
        index_add(x, zeros({1, 1}, DType::i64), ones({1, 2}));
      },
      {"one dimension, not [1, 1]"});
  expect_error<ShapeError>([&] { index_add(Tensor::scalar(1.0f), one, ones({1})); }, {"x needs a dimension"});
  expect_error<ShapeError>(
      [&] {
        scatter(x, zeros({1, 2}, DType::i64), ones({2, 2}), 0);
      },
      {"the shape of the indices, [1, 2], not [2, 2]"});
  expect_error<DTypeError>(
      [&] {
        scatter_add(x, zeros({1, 2}, DType::i64), ones({1, 2}, DType::f64), 0);
      },
      {"the updates are f64, but x is f32"});
  expect_error<DTypeError>([&] { one_hot(x, 3); }, {"one_hot: the indices must be integers"});
  expect_error<ArgumentError>([&] { one_hot(one, -1); }, {"the number of classes is -1"});
}

}  // namespace
}  // namespace wick::test
