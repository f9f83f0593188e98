#include "ops/op_harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "optimize/decompose_scope.h"
#include "support/test_device.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr std::int64_t most_gradient_elements = 200;
constexpr double step = 1e-6;
constexpr Tolerance finite_difference_tolerance{1e-3, 1e-5};

template <typename F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::bool_: return f(bool{});
    case DType::u8: return f(std::uint8_t{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::f16: return f(float16{});
    case DType::bf16: return f(bfloat16{});
    case DType::f32: return f(float{});
    case DType::f64: break;
  }
  return f(double{});
}

template <typename T>
T from_double(double value) {
  if constexpr (std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>)
    return T(static_cast<float>(value));
  else if constexpr (std::is_same_v<T, bool>)
    return value != 0;
  else
    return static_cast<T>(value);
}

template <typename T>
double to_double(T value) {
  if constexpr (std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

double round_to(double value, DType dtype) {
  return with_type(dtype, [&](auto zero) { return to_double(from_double<decltype(zero)>(value)); });
}

DType dtype_of_input(const OpInput& input, DType dtype) { return input.dtype.value_or(dtype); }

/// Numbers of the inputs for one run, exact in the dtypes that the run uses.
std::vector<Array> draw_inputs(const OpCase& op_case, std::size_t run, DType dtype) {
  std::seed_seq seed(op_case.name.begin(), op_case.name.end());
  std::mt19937_64 random(seed);
  random.discard(run * 1000);
  std::vector<Array> arrays;
  for (std::size_t i = 0; i < op_case.inputs.size(); ++i) {
    Array array{op_case.shapes[run][i], {}};
    const auto count = static_cast<std::size_t>(array.shape.elements());
    for (std::size_t k = 0; k < count; ++k) array.values.push_back(op_case.inputs[i].draw(random, k));
    arrays.push_back(rounded(std::move(array), dtype_of_input(op_case.inputs[i], dtype)));
  }
  return arrays;
}

std::vector<Tensor> make_tensors(const OpCase& op_case, const std::vector<Array>& arrays, DType dtype) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < arrays.size(); ++i)
    tensors.push_back(make_tensor(arrays[i], dtype_of_input(op_case.inputs[i], dtype)));
  return tensors;
}

std::string describe(const OpCase& op_case, std::size_t run, DType dtype, const char* mode) {
  std::string text = fmt::format("{} {} {}", op_case.name, name_of(dtype), mode);
  for (const Shape& shape : op_case.shapes[run]) text.append(" ").append(shape.str());
  return text;
}

void expect_result(const OpCase& op_case, const Tensor& result, const Array& expected, DType dtype,
                   const std::string& context) {
  EXPECT_EQ(name_of(result.dtype()), name_of(op_case.output.value_or(dtype))) << context;
  expect_close(result, expected, op_case.tolerance(result.dtype()), context);
}

/// Walks all positions of `shape` in row-major order: f(coordinates, index). f may change its coordinates.
template <typename F>
void for_each_position(const Shape& shape, const F& f) {
  std::vector<std::int64_t> at(static_cast<std::size_t>(shape.rank()), 0);
  std::vector<std::int64_t> given;
  const std::int64_t count = shape.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    given = at;
    f(given, static_cast<std::size_t>(i));
    for (int d = shape.rank() - 1; d >= 0; --d) {
      auto& coordinate = at[static_cast<std::size_t>(d)];
      if (++coordinate < shape[d]) break;
      coordinate = 0;
    }
  }
}

std::size_t broadcast_index(const Shape& shape, const std::vector<std::int64_t>& at) {
  const std::size_t skip = at.size() - static_cast<std::size_t>(shape.rank());
  std::int64_t index = 0;
  for (int d = 0; d < shape.rank(); ++d)
    index = index * shape[d] + (shape[d] == 1 ? 0 : at[skip + static_cast<std::size_t>(d)]);
  return static_cast<std::size_t>(index);
}

// The same numbers behind other strides.

Tensor permuted_view(const Array& array, DType dtype) {
  const int rank = array.shape.rank();
  std::vector<std::int64_t> dims(array.shape.dims().rbegin(), array.shape.dims().rend());
  Array reversed{Shape(std::span<const std::int64_t>(dims)), std::vector<double>(array.values.size())};
  for_each_position(array.shape, [&](std::vector<std::int64_t>& at, std::size_t i) {
    std::reverse(at.begin(), at.end());
    reversed.values[broadcast_index(reversed.shape, at)] = array.values[i];
  });
  std::vector<int> order;
  for (int d = rank - 1; d >= 0; --d) order.push_back(d);
  return permute(make_tensor(reversed, dtype), order);
}

Tensor sliced_view(const Array& array, DType dtype) {
  if (array.shape.rank() == 0) return make_tensor(array, dtype);
  const std::int64_t size = array.shape.dim(-1);
  Array wide{array.shape.with(-1, 2 * size + 3), {}};
  wide.values.assign(static_cast<std::size_t>(wide.shape.elements()), 1);
  for_each_position(array.shape, [&](std::vector<std::int64_t>& at, std::size_t i) {
    at.back() = 2 * at.back() + 1;
    wide.values[broadcast_index(wide.shape, at)] = array.values[i];
  });
  return slice(make_tensor(wide, dtype), -1, 1, 2 * size + 1, 2);
}

Tensor backward_view(const Array& array, DType dtype) {
  if (array.shape.rank() == 0) return make_tensor(array, dtype);
  const std::int64_t size = array.shape.dim(0);
  Array reversed = array;
  for_each_position(array.shape, [&](std::vector<std::int64_t>& at, std::size_t i) {
    at.front() = size - 1 - at.front();
    reversed.values[broadcast_index(array.shape, at)] = array.values[i];
  });
  return slice(make_tensor(reversed, dtype), 0, size - 1, -size - 1, -1);
}

/// Makes the numbers constant along `axis`.
void flatten_along(Array& array, int axis) {
  if (array.shape.rank() == 0) return;
  const Array original = array;
  for_each_position(array.shape, [&](std::vector<std::int64_t>& at, std::size_t i) {
    at[static_cast<std::size_t>(array.shape.normalize_axis(axis))] = 0;
    array.values[i] = original.values[broadcast_index(array.shape, at)];
  });
}

Tensor broadcast_view(const Array& array, DType dtype, int axis) {
  if (array.shape.rank() == 0 || array.shape.dim(axis) == 0) return make_tensor(array, dtype);
  Array thin{array.shape.with(axis, 1), {}};
  for_each_position(thin.shape, [&](const std::vector<std::int64_t>& at, std::size_t) {
    thin.values.push_back(array.values[broadcast_index(array.shape, at)]);
  });
  return broadcast_to(make_tensor(thin, dtype), array.shape);
}

using View = std::function<Tensor(const Array&, DType)>;

void check_view(const OpCase& op_case, std::size_t run, DType dtype, const char* mode,
                const std::vector<Array>& arrays, const Array& expected, const View& view) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < arrays.size(); ++i)
    tensors.push_back(view(arrays[i], dtype_of_input(op_case.inputs[i], dtype)));
  expect_result(op_case, op_case.op(tensors), expected, dtype, describe(op_case, run, dtype, mode));
}

template <typename F>
void for_each_run(const OpCase& op_case, const F& f) {
  for (std::size_t run = 0; run < op_case.shapes.size(); ++run)
    for (DType dtype : op_case.dtypes) {
      f(run, dtype);
      if (::testing::Test::HasFailure()) return;
    }
}

void check_values(const OpCase& op_case) {
  for_each_run(op_case, [&](std::size_t run, DType dtype) {
    const std::vector<Array> arrays = draw_inputs(op_case, run, dtype);
    expect_result(op_case, op_case.op(make_tensors(op_case, arrays, dtype)), op_case.reference(arrays), dtype,
                  describe(op_case, run, dtype, "values"));
  });
}

void check_layouts(const OpCase& op_case) {
  for_each_run(op_case, [&](std::size_t run, DType dtype) {
    const std::vector<Array> arrays = draw_inputs(op_case, run, dtype);
    const Array expected = op_case.reference(arrays);
    check_view(op_case, run, dtype, "permuted", arrays, expected, permuted_view);
    check_view(op_case, run, dtype, "sliced", arrays, expected, sliced_view);
    check_view(op_case, run, dtype, "backwards", arrays, expected, backward_view);
    if (!op_case.broadcast_views) return;
    for (int axis : {0, -1}) {
      std::vector<Array> flat = arrays;
      for (Array& array : flat) flatten_along(array, axis);
      check_view(op_case, run, dtype,
                 axis == 0 ? "broadcast along the first axis" : "broadcast along the last axis", flat,
                 op_case.reference(flat),
                 [axis](const Array& array, DType t) { return broadcast_view(array, t, axis); });
    }
  });
}

void check_modes(const OpCase& op_case) {
  for_each_run(op_case, [&](std::size_t run, DType dtype) {
    const std::vector<Array> arrays = draw_inputs(op_case, run, dtype);
    const std::vector<Tensor> tensors = make_tensors(op_case, arrays, dtype);
    const Array expected = op_case.reference(arrays);
    {
      const EagerScope eager;
      expect_result(op_case, op_case.op(tensors), expected, dtype, describe(op_case, run, dtype, "eager"));
    }
    {
      const DecomposeScope decompose;
      expect_result(op_case, op_case.op(tensors), expected, dtype,
                    describe(op_case, run, dtype, "decomposed"));
    }
    const Tensor first = op_case.op(tensors).eval();
    const Tensor second = op_case.op(tensors).eval();
    std::vector<std::byte> first_bytes(first.bytes());
    std::vector<std::byte> second_bytes(second.bytes());
    first.copy_bytes(first_bytes);
    second.copy_bytes(second_bytes);
    EXPECT_EQ(first_bytes, second_bytes) << describe(op_case, run, dtype, "evaluated twice");
  });
}

// Gradients of sum(op(inputs) * weights), with random weights so that every output element matters.

struct GradientRun {
  std::vector<Array> arrays;
  std::vector<double> weights;
  std::vector<std::size_t> wanted;  // inputs to differentiate by
};

double weighted_sum(const OpCase& op_case, const std::vector<Array>& arrays,
                    const std::vector<double>& weights) {
  const Array result = read_tensor(op_case.op(make_tensors(op_case, arrays, DType::f64)));
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sum += result.values[i] * weights[i];
  return sum;
}

std::vector<Tensor> recorded_gradients(const OpCase& op_case, const GradientRun& run, DType dtype) {
  const std::vector<Tensor> tensors = make_tensors(op_case, run.arrays, dtype);
  const Tensor result = op_case.op(tensors);
  const Tensor loss = sum(mul(result, make_tensor({result.shape(), run.weights}, result.dtype())));
  std::vector<Tensor> params;
  for (std::size_t i : run.wanted) params.push_back(tensors[i]);
  return grad(loss, params);
}

Array finite_differences(const OpCase& op_case, const GradientRun& run, std::size_t input) {
  Array differences{run.arrays[input].shape, {}};
  std::vector<Array> moved = run.arrays;
  for (std::size_t k = 0; k < run.arrays[input].values.size(); ++k) {
    const double x = run.arrays[input].values[k];
    moved[input].values[k] = x + step;
    const double above = weighted_sum(op_case, moved, run.weights);
    moved[input].values[k] = x - step;
    const double below = weighted_sum(op_case, moved, run.weights);
    moved[input].values[k] = x;
    differences.values.push_back((above - below) / (2 * step));
  }
  return differences;
}

bool has_dtype(const OpCase& op_case, DType dtype) {
  return std::find(op_case.dtypes.begin(), op_case.dtypes.end(), dtype) != op_case.dtypes.end();
}

void check_gradient_run(const OpCase& op_case, std::size_t index) {
  GradientRun run{draw_inputs(op_case, index, DType::f64), {}, {}};
  for (std::size_t i = 0; i < op_case.inputs.size(); ++i)
    if (op_case.inputs[i].gradient && !op_case.inputs[i].dtype) run.wanted.push_back(i);
  const Tensor result = op_case.op(make_tensors(op_case, run.arrays, DType::f64));
  std::mt19937_64 random(17);
  const Draw weight = uniform(0.5, 1.5);
  for (std::int64_t k = 0; k < result.elements(); ++k) run.weights.push_back(weight(random, 0));

  const std::vector<Tensor> gradients = recorded_gradients(op_case, run, DType::f64);
  std::vector<Array> exact;
  for (std::size_t p = 0; p < run.wanted.size(); ++p) {
    const std::string context =
        fmt::format("{}, by input {}", describe(op_case, index, DType::f64, "gradient"), run.wanted[p]);
    expect_close(gradients[p], finite_differences(op_case, run, run.wanted[p]), finite_difference_tolerance,
                 context);
    exact.push_back(read_tensor(gradients[p]));
  }
  {
    const DecomposeScope decompose;
    const std::vector<Tensor> again = recorded_gradients(op_case, run, DType::f64);
    for (std::size_t p = 0; p < run.wanted.size(); ++p)
      expect_close(again[p], exact[p], {1e-9, 1e-9},
                   describe(op_case, index, DType::f64, "decomposed gradient"));
  }
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (!has_dtype(op_case, dtype)) continue;
    const std::vector<Tensor> narrow = recorded_gradients(op_case, run, dtype);
    for (std::size_t p = 0; p < run.wanted.size(); ++p) {
      const std::string context = describe(op_case, index, dtype, "gradient");
      EXPECT_EQ(narrow[p].dtype(), dtype) << context;
      EXPECT_EQ(narrow[p].shape(), exact[p].shape) << context;
      // Wider than a single op's: the f32 inputs are rounded, and the backward pass is several ops long.
      if (dtype == DType::f32)
        expect_close(narrow[p], exact[p], {1e-3, 1e-4}, context);
      else
        narrow[p].eval();
    }
  }
}

void check_gradient(const OpCase& op_case) {
  for (std::size_t run = 0; run < op_case.shapes.size() && !::testing::Test::HasFailure(); ++run) {
    std::int64_t elements = 0;
    for (const Shape& shape : op_case.shapes[run]) elements += shape.elements();
    if (elements <= most_gradient_elements) check_gradient_run(op_case, run);
  }
}

class OpTest : public ::testing::Test {
 public:
  OpTest(void (*check)(const OpCase&), std::shared_ptr<const OpCase> op_case)
      : check_(check), case_(std::move(op_case)) {}
  void TestBody() override { check_(*case_); }

 private:
  void (*check_)(const OpCase&);
  std::shared_ptr<const OpCase> case_;
};

Array broadcast_apply(std::span<const Array> inputs,
                      const std::function<double(std::span<const double>)>& f) {
  Shape shape = inputs[0].shape;
  for (const Array& input : inputs) shape = broadcast_shapes(shape, input.shape);
  Array result{shape, {}};
  std::vector<double> arguments(inputs.size());
  for_each_position(shape, [&](const std::vector<std::int64_t>& at, std::size_t) {
    for (std::size_t k = 0; k < inputs.size(); ++k)
      arguments[k] = inputs[k].values[broadcast_index(inputs[k].shape, at)];
    result.values.push_back(f(arguments));
  });
  return result;
}

bool close(double actual, double expected, Tolerance tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected) || std::isinf(actual)) return actual == expected;
  return std::abs(actual - expected) <= tolerance.absolute + tolerance.relative * std::abs(expected);
}

}  // namespace

Draw uniform(double low, double high) {
  return [=](std::mt19937_64& random, std::size_t) {
    return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
  };
}

Draw integers(std::int64_t low, std::int64_t high) {
  return [=](std::mt19937_64& random, std::size_t) {
    return static_cast<double>(
        low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1)));
  };
}

Draw avoiding(Draw draw, std::vector<double> points, double distance) {
  return [draw = std::move(draw), points = std::move(points), distance](std::mt19937_64& random,
                                                                        std::size_t index) {
    for (;;) {
      const double value = draw(random, index);
      if (std::none_of(points.begin(), points.end(),
                       [&](double p) { return std::abs(value - p) < distance; }))
        return value;
    }
  };
}

Draw cycle(std::vector<double> values) {
  return [values = std::move(values)](std::mt19937_64&, std::size_t index) {
    return values[index % values.size()];
  };
}

Tolerance tolerance_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return {1e-7, 1e-7};
    case DType::f32: return {1.3e-6, 1e-5};
    case DType::bf16: return {1.6e-2, 1e-5};
    case DType::f16: return {1e-3, 1e-5};
    default: return {};
  }
}

bool register_op_cases(const std::string& suite, std::vector<OpCase> cases) {
  const auto add_test = [&](const std::shared_ptr<const OpCase>& op_case, const char* kind,
                            void (*check)(const OpCase&)) {
    ::testing::RegisterTest(suite.c_str(), fmt::format("{}_{}", op_case->name, kind).c_str(), nullptr,
                            nullptr, __FILE__, __LINE__,
                            [=]() -> ::testing::Test* { return new OpTest(check, op_case); });
  };
  for (OpCase& entry : cases) {
    const auto op_case = std::make_shared<const OpCase>(std::move(entry));
    add_test(op_case, "values", check_values);
    add_test(op_case, "layouts", check_layouts);
    add_test(op_case, "modes", check_modes);
    if (op_case->gradient) add_test(op_case, "gradient", check_gradient);
  }
  return true;
}

std::vector<std::vector<Shape>> unary_shapes() {
  return {{Shape{}},   {{0}},          {{1}},      {{7}},       {{3, 5}},
          {{2, 0, 3}}, {{2, 1, 3, 5}}, {{17, 67}}, {{3, 1031}}, {{37, 1009}}};
}

std::vector<std::vector<Shape>> binary_shapes() {
  return {{Shape{}, Shape{}},
          {{0}, {0}},
          {{1}, {1}},
          {{7}, {7}},
          {{3, 5}, {5}},
          {{3, 1}, {5}},
          {{2, 3, 5}, {3, 1}},
          {Shape{}, {5}},
          {{5, 3}, Shape{}},
          {{0, 3}, {1, 3}},
          {{2, 0}, {1}},
          {{2, 1, 3, 1}, {4, 1, 5}},
          {{1031, 3}, {1031, 1}},
          {{5, 1031}, {1031}},
          {{37, 1009}, {37, 1009}}};
}

std::vector<std::vector<Shape>> ternary_shapes() {
  return {
      {Shape{}, Shape{}, Shape{}}, {{0}, {0}, {0}},        {{1}, {1}, {1}},          {{7}, {7}, {7}},
      {{3, 5}, {5}, {3, 1}},       {{5}, Shape{}, {2, 1}}, {{2, 1, 3}, {4, 1}, {3}}, {{2, 0}, {1}, {2, 1}},
      {{3, 1031}, {1031}, {3, 1}}};
}

Reference pointwise(std::function<double(double)> f) {
  return [f = std::move(f)](std::span<const Array> inputs) {
    return broadcast_apply(inputs, [&](std::span<const double> x) { return f(x[0]); });
  };
}

Reference pointwise(std::function<double(double, double)> f) {
  return [f = std::move(f)](std::span<const Array> inputs) {
    return broadcast_apply(inputs, [&](std::span<const double> x) { return f(x[0], x[1]); });
  };
}

Reference pointwise(std::function<double(double, double, double)> f) {
  return [f = std::move(f)](std::span<const Array> inputs) {
    return broadcast_apply(inputs, [&](std::span<const double> x) { return f(x[0], x[1], x[2]); });
  };
}

Tensor make_tensor(const Array& array, DType dtype) {
  return with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::unique_ptr<T[]> data(new T[array.values.size()]);
    for (std::size_t i = 0; i < array.values.size(); ++i) data[i] = from_double<T>(array.values[i]);
    return Tensor::from(std::span<const T>(data.get(), array.values.size()), array.shape).to(test_device());
  });
}

Array read_tensor(const Tensor& tensor) {
  Array array{tensor.shape(), {}};
  with_type(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto count = static_cast<std::size_t>(tensor.elements());
    const std::unique_ptr<T[]> data(new T[count]);
    tensor.copy_bytes(std::as_writable_bytes(std::span<T>(data.get(), count)));
    for (std::size_t i = 0; i < count; ++i) array.values.push_back(to_double(data[i]));
  });
  return array;
}

Array rounded(Array array, DType dtype) {
  for (double& value : array.values) value = round_to(value, dtype);
  return array;
}

void expect_close(const Tensor& actual, const Array& expected, Tolerance tolerance,
                  const std::string& context) {
  ASSERT_EQ(actual.shape(), expected.shape) << context;
  const Array got = read_tensor(actual);
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    double wanted = expected.values[i];
    if (is_floating(actual.dtype()) && std::isinf(round_to(wanted, actual.dtype())))
      wanted = round_to(wanted, actual.dtype());
    if (!close(got.values[i], wanted, tolerance)) {
      ADD_FAILURE() << fmt::format("{}: element {} of {} is {:.17g}, expected {:.17g} (difference {:.3g})",
                                   context, i, actual.str(), got.values[i], wanted, got.values[i] - wanted);
      return;
    }
  }
}

void report_error_text(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is missing in:\n" << text;
}

void report_no_error(const std::vector<std::string>& parts) {
  ADD_FAILURE() << "no error of the expected type; wanted one with \"" << (parts.empty() ? "" : parts[0])
                << "\"";
}

}  // namespace wick::test
