#include "pass_harness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backend/backend.h"
#include "optimize/pipeline.h"
#include "wick/optimize.h"

namespace wick::test {

Graph graph_of(const std::vector<Tensor>& outputs) {
  const Walk w = walk(outputs, WalkThrough::unevaluated);
  return snapshot(w, std::vector<char>(w.order.size(), 0));
}

PassContext pass_context() { return {backend_for(cpu), false}; }

Graph optimized(const std::vector<Tensor>& outputs) { return optimize(graph_of(outputs), pass_context()); }

std::size_t count_op(const Graph& graph, std::string_view name) {
  std::size_t n = 0;
  for (const GraphNode& node : graph.nodes) n += node.op && node.op->name == name;
  return n;
}

const GraphNode& only(const Graph& graph, std::string_view name) {
  EXPECT_EQ(count_op(graph, name), 1u) << "of op " << name;
  for (const GraphNode& node : graph.nodes)
    if (node.op && node.op->name == name) return node;
  static const GraphNode none;
  return none;
}

std::vector<double> numbers(const Tensor& x) {
  x.eval();
  return cast(x, DType::f64).to_vector<double>();
}

double distance(const std::vector<double>& a, const std::vector<double>& b, double relative,
                double absolute) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double off = std::abs(a[i] - b[i]) / (absolute + relative * std::abs(b[i]));
    if (!(off <= worst)) worst = off;
    if (std::isnan(worst)) return std::numeric_limits<double>::quiet_NaN();
  }
  return worst;
}

double relative_tolerance(DType dtype) {
  switch (dtype) {
    case DType::bf16: return 1.6e-2;
    case DType::f16: return 1e-3;
    case DType::f32: return 1.3e-6;
    default: return 1e-7;
  }
}

double absolute_tolerance(DType dtype) { return dtype == DType::f64 ? 1e-7 : 1e-5; }

Tensor normal(const Shape& shape, DType dtype, std::uint64_t seed) {
  return cast(random_normal(random_key(seed), shape), dtype).eval().detach();
}

void expect_same_results(std::string_view pass, const std::function<std::vector<Tensor>()>& record,
                         double factor) {
  const std::vector<Tensor> with = record();
  eval(with);
  std::vector<Tensor> without = record();
  {
    const DisablePassesScope scope({pass});
    eval(without);
  }
  ASSERT_EQ(with.size(), without.size());
  for (std::size_t i = 0; i < with.size(); ++i) {
    ASSERT_EQ(with[i].str(), without[i].str());
    const DType dtype = with[i].dtype();
    EXPECT_LE(distance(numbers(with[i]), numbers(without[i]), factor * relative_tolerance(dtype),
                       factor * absolute_tolerance(dtype)),
              1)
        << "output " << i << " with and without " << pass;
  }
}

}  // namespace wick::test
