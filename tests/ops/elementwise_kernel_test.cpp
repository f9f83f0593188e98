#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "backend/cpu/elementwise_program.h"
#include "wick/error.h"

namespace wick {
namespace {

using Register = ElementwiseProgram::Register;

Slot contiguous(DType dtype, const Shape& shape) { return {dtype, Layout::contiguous(shape)}; }

std::vector<float> ramp(std::size_t count, float start, float step) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = start + step * static_cast<float>(i);
  return values;
}

/// exp(a) * b + 2, and whether that is less than c: two outputs of two dtypes.
ElementwiseProgram fused_program() {
  ElementwiseProgram program;
  const Register a = program.add_register(DType::f32);
  const Register b = program.add_register(DType::f32);
  const Register c = program.add_register(DType::f32);
  const Register two = program.add_register(DType::f32);
  const Register inner = program.add_register(DType::f32);
  const Register result = program.add_register(DType::f32);
  const Register below = program.add_register(DType::bool_);
  program.loads = {{a, 0}, {b, 1}, {c, 2}};
  program.fills = {{two, 2}};
  program.instructions = {{find_tile("exp", DType::f32), {a}, inner},
                          {find_tile("mul", DType::f32), {inner, b}, inner},
                          {find_tile("add", DType::f32), {inner, two}, result},
                          {find_tile("less", DType::f32), {result, c}, below}};
  program.stores = {{result, 0}, {below, 1}};
  return program;
}

void check_fused(std::int64_t rows, std::int64_t columns) {
  const auto count = static_cast<std::size_t>(rows * columns);
  std::vector<float> a = ramp(count, -1, 1e-4f);
  const std::vector<float> b = ramp(static_cast<std::size_t>(columns), 0, 0.01f);  // one row
  const std::vector<float> c = ramp(static_cast<std::size_t>(rows), 2, 0.01f);     // one column
  const std::vector<float> original = a;
  std::vector<std::uint8_t> below(count);
  const Slot inputs[] = {contiguous(DType::f32, {rows, columns}), contiguous(DType::f32, {columns}),
                         contiguous(DType::f32, {rows, 1})};
  const Slot outputs[] = {contiguous(DType::f32, {rows, columns}), contiguous(DType::bool_, {rows, columns})};
  const ElementwiseKernel kernel(fused_program(), inputs, outputs);
  const void* const in[] = {a.data(), b.data(), c.data()};
  void* const out[] = {a.data(), below.data()};  // the first output takes the first input's place
  kernel.run(in, out);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t row = i / static_cast<std::size_t>(columns);
    const std::size_t column = i % static_cast<std::size_t>(columns);
    const double expected = std::exp(static_cast<double>(original[i])) * static_cast<double>(b[column]) + 2;
    ASSERT_NEAR(a[i], expected, 1.3e-6 * expected) << rows << "x" << columns << " at " << i;
    ASSERT_EQ(below[i] != 0, a[i] < c[row]) << rows << "x" << columns << " at " << i;
  }
}

TEST(ElementwiseProgram, fused_group_with_broadcast_inputs_in_place) {
  check_fused(1, 1);
  check_fused(3, 5);
  check_fused(700, 3);
  check_fused(5, 300);
  check_fused(3, 2500);
  check_fused(97, 1031);
}

TEST(ElementwiseProgram, result_register_used_before_while_output_replaces_an_input) {
  // r = a^2; s = r + a; r = s a: the first write of r must not reach the output, where a lies.
  ElementwiseProgram program;
  const Register a = program.add_register(DType::f32);
  const Register r = program.add_register(DType::f32);
  const Register s = program.add_register(DType::f32);
  program.loads = {{a, 0}};
  program.instructions = {{find_tile("square", DType::f32), {a}, r},
                          {find_tile("add", DType::f32), {r, a}, s},
                          {find_tile("mul", DType::f32), {s, a}, r}};
  program.stores = {{r, 0}};
  std::vector<float> data = ramp(3000, -1, 1e-3f);
  const std::vector<float> original = data;
  const Slot slot = contiguous(DType::f32, {3000});
  const ElementwiseKernel kernel(program, std::span(&slot, 1), std::span(&slot, 1));
  const void* const in[] = {data.data()};
  kernel.run(in, data.data(), nullptr);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const float x = original[i];
    ASSERT_EQ(data[i], (x * x + x) * x) << i;
  }
}

TEST(ElementwiseProgram, strides_of_any_sign) {
  const std::vector<float> data = ramp(24, 0, 1);
  const Shape shape{2, 3, 4};
  // a: dims 0 and 2 swapped in memory; b: the last dimension backwards; both as f32.
  const Slot a{DType::f32, {shape, {1, 2, 6}, 0}};
  const Slot b{DType::f32, {shape, {12, 4, -1}, 3}};
  ElementwiseProgram program;
  const Register ra = program.add_register(DType::f32);
  const Register rb = program.add_register(DType::f32);
  const Register sum = program.add_register(DType::f32);
  program.loads = {{ra, 0}, {rb, 1}};
  program.instructions = {{find_tile("add", DType::f32), {ra, rb}, sum}};
  program.stores = {{sum, 0}};
  const Slot inputs[] = {a, b};
  const Slot output = contiguous(DType::f32, shape);
  const ElementwiseKernel kernel(program, inputs, std::span(&output, 1));
  std::vector<float> out(24);
  const void* const in[] = {data.data(), data.data() + 3};
  kernel.run(in, out.data(), nullptr);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        EXPECT_EQ(out[static_cast<std::size_t>(12 * i + 4 * j + k)],
                  static_cast<float>((i + 2 * j + 6 * k) + (3 + 12 * i + 4 * j - k)));
}

TEST(ElementwiseProgram, result_does_not_depend_on_where_a_tile_begins) {
  const std::vector<float> x = ramp(100, -30, 0.61f);
  const TileFunction silu = find_tile("silu", DType::f32);
  std::vector<float> whole(x.size());
  silu(x.data(), x.data(), x.data(), whole.data(), x.size());
  for (std::size_t begin = 0; begin < x.size(); ++begin) {
    std::vector<float> part(x.size() - begin);
    silu(x.data() + begin, x.data(), x.data(), part.data(), part.size());
    EXPECT_EQ(part, std::vector<float>(whole.begin() + static_cast<std::ptrdiff_t>(begin), whole.end()));
  }
}

TEST(ElementwiseProgram, unknown_tiles_and_too_many_registers) {
  EXPECT_EQ(find_tile("exp", DType::i32), nullptr);
  EXPECT_EQ(find_tile("no such op", DType::f32), nullptr);
  ElementwiseProgram program;
  for (std::size_t i = 0; i < ElementwiseProgram::max_registers; ++i) program.add_register(DType::f32);
  EXPECT_THROW(program.add_register(DType::f32), InternalError);
}

}  // namespace
}  // namespace wick
