#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pass_harness.h"
#include "random_program_harness.h"
#include "wick/compiled.h"
#include "wick/error.h"
#include "wick/explain.h"
#include "wick/memory.h"
#include "wick/numerics.h"
#include "wick/optimize.h"
#include "wick/stream.h"

// However a program is evaluated, it has the results that it has in f64, op by op.
namespace wick {
namespace {

using test::ProgramData;
using test::Recorded;
using Tensors = std::vector<Tensor>;

constexpr std::uint64_t programs = 40;

std::vector<std::string_view> optional_passes() {
  std::vector<std::string_view> names;
  for (const PassInfo& pass : optimizer_passes())
    if (!pass.required && std::find(names.begin(), names.end(), pass.name) == names.end())
      names.push_back(pass.name);
  return names;
}

struct Program {
  std::uint64_t seed = 0;
  Tensors data;
  /// Results in f64 without optional passes, and in f32 op by op.
  std::vector<std::vector<double>> reference;
  std::vector<std::vector<double>> eager;
  bool narrow = false;

  Tensors record() const {
    ProgramData same(DType::f32, data);
    return test::record_program(seed, same).outputs;
  }
  /// From data that nobody else holds.
  Tensors record_alone() const {
    ProgramData own(DType::f32, copies());
    return test::record_program(seed, own).outputs;
  }
  Tensors copies() const {
    Tensors list;
    for (const Tensor& x : data) {
      std::vector<std::byte> bytes(x.bytes());
      x.copy_bytes(bytes);
      list.push_back(Tensor::from_bytes(bytes, x.shape(), x.dtype()));
    }
    return list;
  }
};

std::vector<std::vector<double>> numbers(const Tensors& tensors) {
  std::vector<std::vector<double>> all;
  for (const Tensor& x : tensors) all.push_back(test::numbers(x));
  return all;
}

Program program(std::uint64_t seed) {
  Program made;
  made.seed = seed;
  {
    ProgramData wide(DType::f64);
    const std::vector<std::string_view> passes = optional_passes();
    const DisablePassesScope scope{std::span<const std::string_view>(passes)};
    const Tensors outputs = test::record_program(seed, wide).outputs;
    eval(outputs);
    made.reference = numbers(outputs);
  }
  const EagerScope scope;
  ProgramData data(DType::f32);
  const Recorded recorded = test::record_program(seed, data);
  made.data = data.used();
  made.eager = numbers(recorded.outputs);
  made.narrow = recorded.narrow;
  return made;
}

/// Largest difference; infinite where only one is finite or NaN.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double off = std::abs(a[i] - b[i]);
    worst = std::max(worst, std::isfinite(off) ? off : std::numeric_limits<double>::infinity());
  }
  return worst;
}

double largest(const std::vector<double>& x) {
  double value = 0;
  for (double e : x)
    if (std::isfinite(e)) value = std::max(value, std::abs(e));
  return value;
}

/// Rounding goes through a random program, so what it may do is taken from the evaluation op by op; 16-bit
/// floats are not rounded inside a step, which may be worth several of theirs (2^-8 each) after a few ops.
void expect_right(const Program& p, const Tensors& outputs, std::string_view how) {
  ASSERT_EQ(outputs.size(), p.reference.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<double> result = test::numbers(outputs[i]);
    ASSERT_EQ(result.size(), p.reference[i].size());
    const double scale = std::max(largest(p.reference[i]), p.narrow ? 0.05 : 1e-3);
    const double rounding = largest_difference(p.eager[i], p.reference[i]);
    const double tolerance =
        p.narrow ? std::max(0.08 * scale, 3 * rounding) : 30 * rounding + 1e-5 * scale + 1e-6;
    EXPECT_LE(largest_difference(result, p.reference[i]), tolerance)
        << "output " << i << " of program " << p.seed << ", " << outputs[i].str() << ", " << how;
  }
}

struct Way {
  const char* name;
  void (*check)(const Program& p);
};

void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

class RandomPrograms : public ::testing::TestWithParam<Way> {};

TEST_P(RandomPrograms, AreRight) {
  for (std::uint64_t seed = 0; seed < programs; ++seed) {
    SCOPED_TRACE(seed);
    ASSERT_NO_THROW(GetParam().check(program(seed)));
  }
}

void check_twice(const Program& p) {
  const Tensors first = p.record();
  eval(first);
  expect_right(p, first, "at once");
  const Tensors second = p.record();
  eval(second);
  for (std::size_t i = 0; i < first.size(); ++i) {
    std::vector<std::byte> a(first[i].bytes());
    std::vector<std::byte> b(second[i].bytes());
    first[i].copy_bytes(a);
    second[i].copy_bytes(b);
    EXPECT_EQ(a, b) << "output " << i << " of program " << p.seed << " again";
  }
}

void check_without_each_pass(const Program& p) {
  for (std::string_view pass : optional_passes()) {
    const DisablePassesScope scope({pass});
    const Tensors outputs = p.record();
    eval(outputs);
    expect_right(p, outputs, "without " + std::string(pass));
  }
}

void check_parts(const Program& p) {
  ProgramData same(DType::f32, p.data);
  const Recorded recorded = test::record_program(p.seed, same);
  for (std::size_t i = 0; i < recorded.values.size(); i += 2) recorded.values[i].eval();
  for (auto output = recorded.outputs.rbegin(); output != recorded.outputs.rend(); ++output) output->eval();
  expect_right(p, recorded.outputs, "value by value");
}

void check_dropped(const Program& p) {
  const Tensors outputs = p.record_alone();
  eval(outputs, History::drop);
  expect_right(p, outputs, "in the memory of its data");
  const Tensors later = p.record_alone();
  eval_async(later, History::drop);
  expect_right(p, later, "in the memory of its data, later");
}

void check_compiled(const Program& p) {
  CompiledOptions options;
  for (std::size_t i = 0; i < p.data.size(); i += 2) options.donated.push_back(i);
  const Compiled function(
      [&](const Tensors& in) {
        ProgramData given(DType::f32, in);
        return test::record_program(p.seed, given).outputs;
      },
      options);
  expect_right(p, function(p.data), "compiled");
  expect_right(p, function(p.copies()), "compiled, donated");
  expect_right(p, function.submit(p.copies()), "compiled, submitted");
}

void check_streams(const Program& p) {
  static const std::vector<Stream> streams{Stream({.threads = 1}), Stream({.threads = 1}),
                                           Stream({.threads = 1})};
  ProgramData same(DType::f32, p.data);
  const Recorded recorded = test::record_program(p.seed, same);
  for (std::size_t i = 0; i < recorded.values.size(); i += 3)
    eval_async({recorded.values[i]}, streams[i % 2]);
  for (std::size_t i = 0; i < recorded.outputs.size(); ++i) eval_async({recorded.outputs[i]}, streams[i % 3]);
  expect_right(p, recorded.outputs, "on three streams");
}

/// Means over empty axes are NaN, which this mode reports.
void check_checked(const Program& p) {
  const NumericCheckScope scope;
  const Tensors outputs = p.record();
  try {
    eval(outputs);
  } catch (const NumericError& error) {
    EXPECT_NE(std::string(error.what()).find("operand"), std::string::npos) << error.what();
    return;
  }
  expect_right(p, outputs, "with checks");
}

void check_explained(const Program& p) {
  const Tensors outputs = p.record();
  const Explanation explanation = explain(outputs);
  const PlannedMemory planned = plan_memory(outputs);
  EXPECT_EQ(explanation.arena_bytes, planned.arena_bytes) << "program " << p.seed;
  EXPECT_EQ(explanation.result_bytes, planned.result_bytes) << "program " << p.seed;
  EXPECT_TRUE(std::isfinite(explanation.flops()) && std::isfinite(explanation.bytes()));
}

const Way ways[] = {
    {"twice", check_twice},       {"without_each_pass", check_without_each_pass},
    {"parts", check_parts},       {"dropped", check_dropped},
    {"compiled", check_compiled}, {"streams", check_streams},
    {"checked", check_checked},   {"explained", check_explained},
};

INSTANTIATE_TEST_SUITE_P(Ways, RandomPrograms, ::testing::ValuesIn(ways),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace wick
