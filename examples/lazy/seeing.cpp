// What an evaluation would do, where its time goes, and which op makes a NaN.
#include <string>

#include "check.h"
#include "wick/error.h"
#include "wick/explain.h"
#include "wick/name_scope.h"
#include "wick/numerics.h"
#include "wick/ops.h"
#include "wick/profile.h"

using namespace wick;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void before_it_runs(const Tensor& x, const Tensor& w) {
  Tensor y;
  {
    const NameScope part("projection");
    y = exp(matmul(x, w) * 0.1);
  }
  const Explanation e = explain({y});
  check(!y.is_evaluated(), "explain computes nothing");
  check(e.steps.size() == 2, "the product, and one pass over memory for all the rest");
  check(e.steps[0].flops == 2.0 * 64 * 32 * 16, "a product of [64, 32] and [32, 16]");
  check(e.steps[0].origin.part == "projection", "parts have names");
  check(contains(e.text(), "seeing.cpp"), "steps name the line that recorded them");
  check(contains(e.html(), "projection"), "the page shows parts");
}

void while_it_runs(const Tensor& x, const Tensor& w) {
  Profiler profiler;
  const Tensor y = matmul(x, w);
  y.to_vector<float>();
  const Profile profile = profiler.stop();
  check(profile.ops().at(0).op == "matmul" && profile.ops()[0].calls == 1, "one product ran");
  check(contains(profile.summary(), "a read evaluates its tensor"), "the read is what evaluated");
}

void when_numbers_go_wrong() {
  const Tensor x = Tensor::from(std::vector<float>{1, 0, 4}, Shape{3});
  const Tensor y = log(x) * 2.0 + 1.0;
  std::string message;
  try {
    const NumericCheckScope scope;
    y.eval();
  } catch (const NumericError& e) {
    message = e.what();
  }
  check(contains(message, "log is the first op to give NaN or infinity"), "the op is named");
  check(contains(message, "operand 0: f32[3] from 0 to 4"), "and so are its operands");
}

}  // namespace

int main() {
  const Tensor x = random_normal(random_key(1), {64, 32}).eval();
  const Tensor w = random_normal(random_key(2), {32, 16}).eval();
  before_it_runs(x, w);
  while_it_runs(x, w);
  when_numbers_go_wrong();
}
