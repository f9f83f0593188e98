#include "backend/cuda/strided_shape.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace wick::cuda {
namespace {

TEST(DivisorTest, AgreesWithDivisionBelow2To31) {
  constexpr unsigned int most = 0x7FFFFFFFu;
  std::vector<unsigned int> sizes{
      1, 2, 3, 5, 7, 10, 641, 65535, 65536, 65537, 1u << 30, (1u << 30) + 1, most - 1, most};
  for (unsigned int size : sizes) {
    const auto divisor = Divisor<unsigned int>::of(size);
    std::vector<unsigned int> numbers{0, 1, size - 1, size, most, most - 1};
    for (unsigned int k = 1; k < 2000; ++k) {
      numbers.push_back(k * 1073741u % most);
      // Around multiples, where a wrong multiplier shows first.
      const auto multiple = static_cast<unsigned int>(std::uint64_t{most / size} * k / 2000 * size);
      numbers.insert(numbers.end(),
                     {multiple, multiple + (multiple < most ? 1 : 0), multiple - (multiple > 0 ? 1 : 0)});
    }
    for (unsigned int n : numbers) ASSERT_EQ(divisor.quotient(n), n / size) << n << " / " << size;
  }
}

/// Offsets as StridedShape gives them to kernels, for every position.
template <typename Index>
std::vector<std::int64_t> device_offsets(const StridedShape& shape, std::size_t operand) {
  const auto dims = shape.device_dims<Index>();
  const auto steps = shape.device_steps<Index>(operand);
  std::vector<std::int64_t> offsets;
  for (Index i = 0; i < dims.count; ++i) offsets.push_back(offset_at(dims, i, steps));
  return offsets;
}

/// The offsets of all positions of a shape, by counting in nested order.
std::vector<std::int64_t> counted_offsets(const Shape& shape, const Strides& strides) {
  std::vector<std::int64_t> offsets{0};
  for (int d = 0; d < shape.rank(); ++d) {
    std::vector<std::int64_t> longer;
    for (std::int64_t offset : offsets)
      for (std::int64_t i = 0; i < shape[d]; ++i)
        longer.push_back(offset + i * strides[static_cast<std::size_t>(d)]);
    offsets = std::move(longer);
  }
  return offsets;
}

TEST(StridedShapeTest, OffsetsAreThoseOfTheStrides) {
  const struct {
    Shape shape;
    Strides a;
    Strides b;
    std::size_t rank;  // merged
  } cases[] = {
      {Shape{}, {}, {}, 0},
      {Shape{1, 1}, {5, 7}, {1, 1}, 0},
      {Shape{4, 3, 5}, {15, 5, 1}, {15, 5, 1}, 1},
      {Shape{4, 3, 5}, {15, 5, 1}, {0, 0, 1}, 2},
      {Shape{4, 1, 5}, {5, 99, 1}, {-5, 0, -1}, 1},
      {Shape{2, 3, 4, 5}, {1, 2, 6, 24}, {60, 20, 5, 1}, 4},
      {Shape{3, 7}, {0, 0}, {-7, 1}, 2},
      {Shape{2, 1, 2, 1, 2, 2, 1, 3}, {0, 0, 3, 0, 0, 6, 0, 1}, {24, 0, 12, 0, 6, 3, 0, 1}, 5},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.shape.str());
    const StridedShape merged(c.shape, std::array{c.a, c.b});
    EXPECT_EQ(merged.dims().size(), c.rank);
    EXPECT_TRUE(merged.is_small());
    EXPECT_EQ(device_offsets<unsigned int>(merged, 0), counted_offsets(c.shape, c.a));
    EXPECT_EQ(device_offsets<unsigned long long>(merged, 0), counted_offsets(c.shape, c.a));
    EXPECT_EQ(device_offsets<unsigned int>(merged, 1), counted_offsets(c.shape, c.b));
  }
}

TEST(StridedShapeTest, PacksOfTheLastDimensionCountAsOne) {
  const Strides strides{40, 1};
  const StridedShape shape(Shape{3, 8}, std::span(&strides, 1));
  const auto dims = shape.device_dims<unsigned int>(4);
  const auto steps = shape.device_steps<unsigned int>(0, 4);
  ASSERT_EQ(dims.count, 6u);
  std::vector<int> offsets;
  for (unsigned int i = 0; i < dims.count; ++i) offsets.push_back(offset_at(dims, i, steps));
  EXPECT_EQ(offsets, (std::vector<int>{0, 4, 40, 44, 80, 84}));
}

TEST(StridedShapeTest, LargeOffsetsNeed64Bits) {
  const Strides far{std::int64_t{1} << 31, 1};
  EXPECT_FALSE(StridedShape(Shape{2, 2}, std::span(&far, 1)).is_small());
  const Strides reach{-(std::int64_t{1} << 30), 1};
  EXPECT_TRUE(StridedShape(Shape{2, 2}, std::span(&reach, 1)).is_small());
  EXPECT_FALSE(StridedShape(Shape{3, 2}, std::span(&reach, 1)).is_small());
  const Strides none{0};
  EXPECT_FALSE(StridedShape(Shape{std::int64_t{1} << 31}, std::span(&none, 1)).is_small());
  EXPECT_TRUE(StridedShape(Shape{0, 5}, std::span(&far, 1)).is_small());
}

TEST(StridedShapeTest, BroadcastStridesAlignToTheRightAndRepeat) {
  const Layout layout{Shape{1, 3}, Strides{3, -2}, 0};
  const Strides strides = broadcast_strides(layout, Shape{2, 4, 3});
  EXPECT_EQ(std::vector(strides.begin(), strides.begin() + 3), (std::vector<std::int64_t>{0, 0, -2}));
}

}  // namespace
}  // namespace wick::cuda
