#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "ops/array_walk.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

OpCase moving(std::string name, std::vector<std::vector<Shape>> shapes, OpFunction op, Reference reference) {
  OpCase op_case{.name = std::move(name),
                 .inputs = {},
                 .shapes = std::move(shapes),
                 .op = std::move(op),
                 .reference = std::move(reference),
                 .dtypes = all_dtypes,
                 .tolerance = exact};
  op_case.inputs.assign(op_case.shapes[0].size(), {.draw = integers(0, 5)});
  return op_case;
}

OpCase reshape_case(std::string name, Shape from, std::vector<std::int64_t> to, Shape result) {
  return moving(
      std::move(name), {{from}}, [to](std::span<const Tensor> x) { return reshape(x[0], to); },
      [result](std::span<const Array> x) {
        return Array{result, x[0].values};
      });
}

OpCase permute_case(std::string name, std::vector<Shape> shapes, std::vector<int> order) {
  std::vector<std::vector<Shape>> runs;
  for (const Shape& shape : shapes) runs.push_back({shape});
  return moving(
      std::move(name), runs, [order](std::span<const Tensor> x) { return permute(x[0], order); },
      [order](std::span<const Array> x) {
        std::vector<std::int64_t> dims;
        for (int d : order) dims.push_back(x[0].shape[d]);
        return build(Shape(std::span<const std::int64_t>(dims)), [&](const Position& at) {
          Position from(at.size());
          for (std::size_t d = 0; d < at.size(); ++d) from[z(order[d])] = at[d];
          return element(x[0], from);
        });
      });
}

OpCase broadcast_case(std::string name, Shape from, Shape to) {
  return moving(
      std::move(name), {{from}}, [to](std::span<const Tensor> x) { return broadcast_to(x[0], to); },
      [to](std::span<const Array> x) {
        return build(to, [&](const Position& at) {
          Position source(at.end() - x[0].shape.rank(), at.end());
          for (std::size_t d = 0; d < source.size(); ++d)
            if (x[0].shape[static_cast<int>(d)] == 1) source[d] = 0;
          return element(x[0], source);
        });
      });
}

/// `picked`: the positions along the axis that Python's slice gives.
OpCase slice_case(std::string name, Shape shape, int axis, std::int64_t start, std::int64_t stop,
                  std::int64_t step, std::vector<std::int64_t> picked) {
  return moving(
      std::move(name), {{shape}},
      [=](std::span<const Tensor> x) { return slice(x[0], axis, start, stop, step); },
      [=](std::span<const Array> x) {
        return build(shape.with(axis, static_cast<std::int64_t>(picked.size())), [&](Position& at) {
          auto& coordinate = at[z(shape.normalize_axis(axis))];
          coordinate = picked[z(coordinate)];
          return element(x[0], at);
        });
      });
}

Array joined(std::span<const Array> parts, int axis) {
  std::int64_t total = 0;
  for (const Array& part : parts) total += part.shape.dim(axis);
  const auto d = z(parts[0].shape.normalize_axis(axis));
  return build(parts[0].shape.with(axis, total), [&](Position& at) {
    std::size_t part = 0;
    while (at[d] >= parts[part].shape.dim(axis)) at[d] -= parts[part++].shape.dim(axis);
    return element(parts[part], at);
  });
}

OpCase concat_case(std::string name, int axis, std::vector<std::vector<Shape>> shapes) {
  return moving(
      std::move(name), std::move(shapes), [axis](std::span<const Tensor> x) { return concat(x, axis); },
      [axis](std::span<const Array> x) { return joined(x, axis); });
}

OpCase pad_case(std::string name, std::vector<Shape> shapes, int axis, std::int64_t low, std::int64_t high,
                double value) {
  std::vector<std::vector<Shape>> runs;
  for (const Shape& shape : shapes) runs.push_back({shape});
  return moving(
      std::move(name), runs, [=](std::span<const Tensor> x) { return pad(x[0], axis, low, high, value); },
      [=](std::span<const Array> x) {
        const Shape shape = x[0].shape;
        return build(shape.with(axis, low + shape.dim(axis) + high), [&](Position& at) {
          auto& coordinate = at[z(shape.normalize_axis(axis))];
          coordinate -= low;
          return coordinate < 0 || coordinate >= shape.dim(axis) ? value : element(x[0], at);
        });
      });
}

OpCase slice_update_case(std::string name, int axis, std::int64_t start, DType start_type,
                         std::vector<std::vector<Shape>> shapes) {
  OpCase op_case = moving(
      std::move(name), std::move(shapes),
      [axis](std::span<const Tensor> x) { return slice_update(x[0], x[1], x[2], axis); },
      [axis](std::span<const Array> x) {
        const std::int64_t count = x[1].shape.dim(axis);
        const std::int64_t begin = std::clamp<std::int64_t>(static_cast<std::int64_t>(x[2].values[0]), 0,
                                                            x[0].shape.dim(axis) - count);
        return build(x[0].shape, [&](Position& at) {
          auto& coordinate = at[z(x[0].shape.normalize_axis(axis))];
          if (coordinate < begin || coordinate >= begin + count) return element(x[0], at);
          coordinate -= begin;
          return element(x[1], at);
        });
      });
  op_case.inputs[2] = {.draw = cycle({static_cast<double>(start)}), .dtype = start_type};
  return op_case;
}

const bool registered = register_op_cases(
    "MovementOps",
    {reshape_case("reshape_split", {6, 4}, {2, 3, 4}, {2, 3, 4}),
     reshape_case("reshape_merge", {2, 3, 4}, {6, -1}, {6, 4}),
     reshape_case("reshape_regroup", {4, 6}, {3, 8}, {3, 8}),
     reshape_case("reshape_ones", {1, 5, 1}, {5, 1, 1, 1}, {5, 1, 1, 1}),
     reshape_case("reshape_scalar", {1, 1}, {}, {}),
     reshape_case("reshape_empty", {0, 3}, {2, 0}, {2, 0}),
     reshape_case("reshape_large", {67, 129}, {129, 67}, {129, 67}),
     permute_case("permute_two", {{3, 5}, {0, 3}, {1, 7}, {67, 129}, {16, 32}, {263, 521}}, {1, 0}),
     permute_case("permute_middle", {{2, 3, 4, 5}, {3, 33, 17, 8}}, {0, 2, 1, 3}),
     permute_case("permute_last", {{2, 3, 5}, {5, 19, 37}}, {0, 2, 1}),
     permute_case("permute_rotate", {{2, 3, 5}, {35, 19, 7}}, {2, 0, 1}),
     broadcast_case("broadcast_rows", {5}, {3, 5}),
     broadcast_case("broadcast_columns", {3, 1}, {3, 5}),
     broadcast_case("broadcast_both", {2, 1, 3, 1}, {4, 2, 5, 3, 2}),
     broadcast_case("broadcast_scalar", {}, {130, 129}),
     broadcast_case("broadcast_empty", {1, 3}, {0, 3}),
     slice_case("slice_range", {7, 3}, 0, 1, 4, 1, {1, 2, 3}),
     slice_case("slice_negative", {2, 7}, -1, -3, -1, 1, {4, 5}),
     slice_case("slice_limited", {5}, 0, -100, 100, 2, {0, 2, 4}),
     slice_case("slice_backwards", {3, 7, 2}, 1, 5, 0, -2, {5, 3, 1}),
     slice_case("slice_reversed", {6}, 0, -1, -7, -1, {5, 4, 3, 2, 1, 0}),
     slice_case("slice_nothing", {6, 2}, 0, 4, 2, 1, {}),
     slice_case("slice_far_step", {6, 2}, 0, 1, 6, std::numeric_limits<std::int64_t>::max(), {1}),
     slice_case("slice_far_back_step", {6, 2}, 0, 4, -7, std::numeric_limits<std::int64_t>::min(), {4}),
     concat_case("concat_first", 0,
                 {{{2, 3}, {4, 3}, {0, 3}}, {{1, 1}, {1, 1}, {1, 1}}, {{70, 100}, {30, 100}, {1, 100}}}),
     concat_case("concat_last", -1,
                 {{{2, 3}, {2, 1}}, {{0, 3}, {0, 2}}, {{129, 64}, {129, 67}}, {{2, 1, 3}, {2, 1, 5}}}),
     concat_case("concat_middle", 1, {{{2, 3, 5}, {2, 1, 5}}, {{3, 40, 50}, {3, 41, 50}}}),
     concat_case("concat_one", 0, {{{5, 2}}}),
     pad_case("pad_first", {{2, 3}, {0, 3}, {129, 130}}, 0, 1, 2, 1),
     pad_case("pad_last", {{2, 3}, {2, 0}, {5}, {129, 130}}, -1, 3, 0, 0),
     pad_case("pad_middle", {{2, 3, 4}, {7, 30, 50}}, 1, 0, 2, 1),
     slice_update_case(
         "slice_update_middle", 1, 2, DType::i64,
         {{{2, 5, 3}, {2, 2, 3}, {}}, {{2, 5, 3}, {2, 0, 3}, {}}, {{30, 20, 40}, {30, 7, 40}, {}}}),
     slice_update_case("slice_update_first", 0, 1, DType::i32, {{{4}, {2}, {}}, {{4, 3}, {1, 3}, {}}}),
     slice_update_case("slice_update_beyond", -1, 100, DType::i64, {{{3, 5}, {3, 2}, {}}}),
     slice_update_case("slice_update_before", -1, -7, DType::i32, {{{3, 5}, {3, 2}, {}}}),
     slice_update_case("slice_update_all", 0, 3, DType::i64, {{{3, 5}, {3, 5}, {}}, {{0, 2}, {0, 2}, {}}})});

Tensor counting(const Shape& shape) {
  std::vector<float> values(z(shape.elements()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

TEST(MovementOps, WhatChangesNothingRecordsNothing) {
  const Tensor x = counting({2, 3});
  EXPECT_EQ(reshape(x, {2, -1}).node(), x.node());
  EXPECT_EQ(permute(x, {0, 1}).node(), x.node());
  EXPECT_EQ(broadcast_to(x, {2, 3}).node(), x.node());
  EXPECT_EQ(slice(x, 1, 0, 100).node(), x.node());
  EXPECT_EQ(pad(x, 0, 0, 0).node(), x.node());
}

TEST(MovementOps, ExpandDimsAndSqueezeAreInverse) {
  const Tensor x = counting({2, 3});
  EXPECT_EQ(expand_dims(x, 0).shape(), (Shape{1, 2, 3}));
  EXPECT_EQ(expand_dims(x, -1).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(expand_dims(x, 2).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(squeeze(expand_dims(x, 1), -2).shape(), x.shape());
}

TEST(MovementOps, TransposeSwapsTheLastTwoByDefault) {
  const Tensor x = counting({2, 3, 5});
  EXPECT_EQ(transpose(x).shape(), (Shape{2, 5, 3}));
  EXPECT_EQ(transpose(x, 0, -1).shape(), (Shape{5, 3, 2}));
  EXPECT_EQ(transpose(counting({2, 2})).to_vector<float>(), (std::vector<float>{0, 2, 1, 3}));
}

TEST(MovementOps, ChainsOfViewsReadTheSameElements) {
  const Tensor x = counting({4, 6});
  const Tensor y = slice(transpose(reshape(x, {4, 2, 3}), 0, 2), 0, 2, -4, -1);  // [3, 2, 4], backwards
  EXPECT_EQ(reshape(y, {24}).to_vector<float>(),
            (std::vector<float>{2, 8,  14, 20, 5, 11, 17, 23, 1, 7, 13, 19,
                                4, 10, 16, 22, 0, 6,  12, 18, 3, 9, 15, 21}));
}

TEST(MovementOps, ConcatPromotes) {
  const std::vector<Tensor> parts{ones({2}, DType::bf16), ones({1}, DType::f32), ones({1}, DType::bool_)};
  EXPECT_EQ(concat(parts, 0).dtype(), DType::f32);
  EXPECT_EQ(concat(parts, 0).to_vector<float>(), (std::vector<float>{1, 1, 1, 1}));
}

TEST(MovementOps, PadWritesItsValue) {
  const Tensor x = counting({2});
  EXPECT_EQ(pad(x, 0, 1, 2, -2.5).to_vector<float>(), (std::vector<float>{-2.5f, 0, 1, -2.5f, -2.5f}));
}

TEST(MovementOps, StopGradientStopsIt) {
  const Tensor x = counting({3}).eval();
  const Tensor gradient = grad(sum(x * stop_gradient(x)), {x})[0];
  EXPECT_EQ(gradient.to_vector<float>(), (std::vector<float>{0, 1, 2}));
}

TEST(MovementOps, SliceUpdateOfDonatedStateIsRight) {
  Tensor cache = zeros({4, 2}, DType::f32);
  eval({cache}, History::drop);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Tensor row = full({1, 2}, static_cast<double>(i + 1));
    Tensor next = slice_update(cache, row, Tensor::scalar(i), 0);
    cache = Tensor{};
    eval({next}, History::drop);
    cache = next;
  }
  EXPECT_EQ(cache.to_vector<float>(), (std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4}));
}

TEST(MovementOps, SliceUpdateOfItselfAndOfTemporaries) {
  const Tensor x = counting({3, 2});
  const Tensor start = Tensor::scalar(std::int64_t{1});
  const Tensor a = x + 1;
  EXPECT_EQ(slice_update(a, a, start, 0).to_vector<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(slice_update(x + 1, x * 2, start, 0).to_vector<float>(), (std::vector<float>{0, 2, 4, 6, 8, 10}));
  const Tensor b = x + 3;
  EXPECT_EQ(slice_update(b, slice(b, 0, 2, 3), start, 0).to_vector<float>(),
            (std::vector<float>{3, 4, 7, 8, 7, 8}));
}

TEST(MovementOps, ErrorsSayWhatIsWrong) {
  const Tensor x = counting({2, 3});
  expect_error<ShapeError>(
      [&] {
        reshape(x, {4, 2});
      },
      {"reshape: [2, 3] with 6 elements", "[4, 2] with 8", "movement_test.cpp:"});
  expect_error<ShapeError>([&] { reshape(x, {4, -1}); }, {"[2, 3] does not fit into [4, -1]"});
  expect_error<ShapeError>([&] { reshape(x, {-1, -1}); }, {"at most one size may be -1"});
  expect_error<ShapeError>([&] { reshape(x, {-2, 3}); }, {"does not fit into [-2, 3]"});
  expect_error<ShapeError>([&] { reshape(zeros({0, 3}), {0, -1}); }, {"does not fit into [0, -1]"});
  expect_error<ShapeError>([&] { reshape(x, std::vector<std::int64_t>(9, 1)); },
                           {"at most 8 dimensions, not 9"});
  expect_error<ShapeError>(
      [&] {
        permute(x, {0, 0});
      },
      {"(0, 0) is not a permutation of the 2 dimensions", "f32[2, 3]"});
  expect_error<ShapeError>([&] { permute(x, {0}); }, {"(0) is not a permutation"});
  expect_error<ShapeError>([&] { transpose(x, 0, 2); },
                           {"transpose: axis 2 is out of range", "movement_test.cpp:"});
  expect_error<ShapeError>(
      [&] {
        broadcast_to(x, {2, 4});
      },
      {"broadcast_to: [2, 3] does not broadcast to [2, 4]"});
  expect_error<ShapeError>([&] { broadcast_to(x, {3}); }, {"[2, 3] does not broadcast to [3]"});
  expect_error<ShapeError>([&] { expand_dims(x, 4); },
                           {"axis 4 is out of range for a result of 3 dimensions"});
  expect_error<ShapeError>([&] { squeeze(x, 1); }, {"axis 1 has size 3, not 1"});
  expect_error<ShapeError>([&] { squeeze(x, 2); }, {"squeeze: axis 2 is out of range"});
  expect_error<ShapeError>([&] { slice(x, 2, 0, 1); }, {"slice: axis 2 is out of range for shape [2, 3]"});
  expect_error<ShapeError>([&] { slice(x, -3, 0, 1); }, {"axis -3 is out of range"});
  expect_error<ArgumentError>([&] { slice(x, 0, 0, 1, 0); }, {"slice: the step must not be 0", "f32[2, 3]"});
  expect_error<ArgumentError>([&] { concat(std::vector<Tensor>{}, 0); },
                              {"concat: there is nothing to join"});
  expect_error<ShapeError>(
      [&] {
        concat(std::vector<Tensor>{x, counting({3, 3})}, 1);
      },
      {"part 1 has shape [3, 3], but part 0 has [2, 3]", "dimension 1 only"});
  expect_error<ArgumentError>(
      [&] {
        concat(std::vector<Tensor>{x, Tensor{}}, 0);
      },
      {"input 1 is an empty tensor"});
  expect_error<ArgumentError>([&] { pad(x, 0, -1, 0); }, {"-1 and 0", "use slice"});
  expect_error<ArgumentError>([&] { pad(zeros({2}, DType::u8), 0, 1, 0, 256); },
                              {"256 is outside the range of u8"});
  const Tensor start = Tensor::scalar(std::int64_t{0});
  expect_error<ShapeError>(
      [&] {
        slice_update(x, counting({3, 3}), start, 0);
      },
      {"the update [3, 3]", "dimension 0"});
  expect_error<ShapeError>([&] { slice_update(x, counting({1, 2}), start, 0); }, {"the update [1, 2]"});
  expect_error<DTypeError>([&] { slice_update(x, ones({1, 3}, DType::bf16), start, 0); }, {"f32 and bf16"});
  expect_error<DTypeError>([&] { slice_update(x, x, Tensor::scalar(1.0f), 0); }, {"i32 or i64, not f32"});
  expect_error<ShapeError>([&] { slice_update(x, x, zeros({1}, DType::i64), 0); },
                           {"rank-0 tensor, not [1]"});
}

}  // namespace
}  // namespace wick::test
