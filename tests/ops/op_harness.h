#pragma once

#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "wick/tensor.h"

// Table-driven checks of ops against float64 references. A test file lists OpCases and registers them:
//
//   const bool registered = wick::test::register_op_cases("UnaryOps", {
//       {.name = "exp",
//        .inputs = {{.draw = uniform(-4, 4)}},
//        .shapes = unary_shapes(),
//        .op = [](std::span<const Tensor> x) { return exp(x[0]); },
//        .reference = pointwise([](double x) { return std::exp(x); })}});
//
// Each case becomes four tests:
//   <name>_values    every dtype and shape, against the reference
//   <name>_layouts   the same with inputs that are permuted, sliced (also backwards) and broadcast views
//   <name>_modes     eager, decomposed, and evaluated again: against the reference; the repetition bit for
//   bit <name>_gradient  central finite differences in f64; f32 against f64; shapes and dtypes of the 16-bit
//   gradients
namespace wick::test {

/// Row-major numbers in float64.
struct Array {
  Shape shape;
  std::vector<double> values;
};

/// Makes element `index` of an input.
using Draw = std::function<double(std::mt19937_64& random, std::size_t index)>;
Draw uniform(double low, double high);
/// Integers of [low, high].
Draw integers(std::int64_t low, std::int64_t high);
/// Redraws while within `distance` of one of `points`: keeps finite differences off kinks and poles.
Draw avoiding(Draw draw, std::vector<double> points, double distance);
/// The values in turn.
Draw cycle(std::vector<double> values);

struct Tolerance {
  double relative = 0;
  double absolute = 0;
};
/// Those of torch.testing.assert_close; zero for integers and bool.
Tolerance tolerance_of(DType dtype);

struct OpInput {
  Draw draw;
  /// Set for inputs whose dtype does not vary (indices, conditions); those get no gradient.
  std::optional<DType> dtype = {};
  /// False: the gradient with respect to this input is not checked.
  bool gradient = true;
};

using OpFunction = std::function<Tensor(std::span<const Tensor> inputs)>;
using Reference = std::function<Array(std::span<const Array> inputs)>;

struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  /// One element a run: the shapes of the inputs. Include empty, size-1 and odd ones.
  std::vector<std::vector<Shape>> shapes;
  OpFunction op;
  Reference reference;
  std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16};
  /// Dtype of the result where it is not that of the varying inputs.
  std::optional<DType> output = {};
  /// False for ops without gradient. Shapes of more than 200 elements in all are left out of that check.
  bool gradient = true;
  /// False where an input's values are bound to its positions, so that the view of broadcast values makes no
  /// sense.
  bool broadcast_views = true;
  /// Replaces `tolerance_of`; say why beside the number.
  std::function<Tolerance(DType)> tolerance = tolerance_of;
};

/// Registers the tests of the cases; returns true. Call it from a static initialiser.
bool register_op_cases(const std::string& suite, std::vector<OpCase> cases);

/// Scalar, empty, size-1, odd and larger-than-a-tile shapes, for ops of one, two or three broadcast inputs.
std::vector<std::vector<Shape>> unary_shapes();
std::vector<std::vector<Shape>> binary_shapes();
std::vector<std::vector<Shape>> ternary_shapes();

/// References of elementwise ops: inputs broadcast as in NumPy.
Reference pointwise(std::function<double(double)> f);
Reference pointwise(std::function<double(double, double)> f);
Reference pointwise(std::function<double(double, double, double)> f);

/// Conversions between float64 numbers and tensors of any dtype. Numbers round to nearest.
Tensor make_tensor(const Array& array, DType dtype);
Array read_tensor(const Tensor& tensor);
/// What `make_tensor` keeps of the numbers.
Array rounded(Array array, DType dtype);

/// Expects equal shapes and |actual - expected| <= absolute + relative |expected| everywhere (NaN equals NaN;
/// an expected number beyond the range of actual's dtype is an infinity). `context` begins the failure's
/// text.
void expect_close(const Tensor& actual, const Array& expected, Tolerance tolerance,
                  const std::string& context);

void report_error_text(const std::string& text, const std::vector<std::string>& parts);
void report_no_error(const std::vector<std::string>& parts);

/// Expects `f` to throw an E whose text contains each of `parts`.
template <typename E, typename F>
void expect_error(F&& f, const std::vector<std::string>& parts) {
  try {
    f();
  } catch (const E& error) {
    report_error_text(error.what(), parts);
    return;
  }
  report_no_error(parts);
}

}  // namespace wick::test
