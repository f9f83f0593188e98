#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "optimize/pass.h"
#include "wick/eval.h"
#include "wick/ops.h"

// What tests of optimiser passes share.
namespace wick::test {

/// The graph that an evaluation of `outputs` takes.
Graph graph_of(const std::vector<Tensor>& outputs);
PassContext pass_context();
/// The same after the whole pipeline.
Graph optimized(const std::vector<Tensor>& outputs);

std::size_t count_op(const Graph& graph, std::string_view name);
/// The only node of this op; fails the test when there is not exactly one.
const GraphNode& only(const Graph& graph, std::string_view name);

/// The elements of any floating dtype.
std::vector<double> numbers(const Tensor& x);

/// Largest |a - b| / (absolute + relative |b|) over the elements; NaN where only one is NaN, 0 where both
/// are.
double distance(const std::vector<double>& a, const std::vector<double>& b, double relative, double absolute);

/// The tolerances of torch.testing.assert_close, of the dtype.
double relative_tolerance(DType dtype);
double absolute_tolerance(DType dtype);

/// Data of a standard normal distribution, evaluated.
Tensor normal(const Shape& shape, DType dtype = DType::f32, std::uint64_t seed = 1);

/// Evaluates what `record` records with and without a pass; expects both within the tolerances of the
/// results' dtypes, times `factor`.
void expect_same_results(std::string_view pass, const std::function<std::vector<Tensor>()>& record,
                         double factor = 1);

}  // namespace wick::test
