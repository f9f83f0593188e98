// What an evaluation costs around the kernels: recording, planning, handing over.
#include <benchmark/benchmark.h>

#include "support.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

/// Adds `count` nodes; half are muls, half adds.
Tensor long_chain(const Tensor& x, int count) {
  Tensor y = x;
  for (int i = 0; i < count; ++i) y = i % 2 == 0 ? y * 1.0001 : y + 0.0001;
  return y;
}

/// About `nodes` nodes of the kinds that a transformer is made of, on small data. `salt` is a number in the
/// graph, and so makes it a structure of its own.
Tensor layered_graph(const Tensor& x, const Tensor& w, const Tensor& bias, int nodes, double salt) {
  Tensor y = x + salt;
  for (int i = 0; i + 10 <= nodes; i += 10) {
    const Tensor h = relu(matmul(y, w) + bias);
    const Tensor gate = sigmoid(h * 0.5 - bias);
    const Tensor turned = transpose(transpose(gate) + 1.0);
    y = y + rms_norm(turned, {}, 1e-6);
  }
  return sum(y);
}

Record tiny_op() {
  const Tensor x = random_data({4});
  return [=] { return add(x, x); };
}

Record chain_of_200() {
  const Tensor x = random_data({1024});
  return [=] { return long_chain(x, 200); };
}

/// Recording alone: nodes are made, and destroyed again without being evaluated.
void record_node(benchmark::State& state) {
  const Tensor x = random_data({4});
  const std::uint64_t before = allocations();
  for (auto _ : state) benchmark::DoNotOptimize(add(x, x));
  state.counters["allocations"] =
      benchmark::Counter(static_cast<double>(allocations() - before), benchmark::Counter::kAvgIterations);
}

void record_node_in_chain(benchmark::State& state) {
  constexpr int length = 1000;
  const Tensor x = random_data({4});
  const std::uint64_t before = allocations();
  for (auto _ : state) {
    const Tensor y = long_chain(x, length);
    benchmark::DoNotOptimize(y.node());
  }
  // The two numbers are recorded once.
  const auto nodes = static_cast<double>(state.iterations()) * length;
  state.counters["allocations"] = static_cast<double>(allocations() - before) / nodes;
  state.counters["per_node"] =
      benchmark::Counter(nodes, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// The evaluation of a structure that the plan cache has not seen: walk, passes, plan, and a run on data so
/// small that it hardly counts. Recording is not timed.
void first_eval(benchmark::State& state, int nodes) {
  static double salt = 1;
  const Tensor x = random_data({8, 16});
  const Tensor w = random_data({16, 16});
  const Tensor bias = random_data({16});
  layered_graph(x, w, bias, nodes, salt += 1e-3).eval();
  for (auto _ : state) {
    state.PauseTiming();
    const Tensor y = layered_graph(x, w, bias, nodes, salt += 1e-3);
    state.ResumeTiming();
    y.eval();
  }
}

/// The same with the plan in the cache.
void next_eval(benchmark::State& state, int nodes) {
  const Tensor x = random_data({8, 16});
  const Tensor w = random_data({16, 16});
  const Tensor bias = random_data({16});
  layered_graph(x, w, bias, nodes, 0.5).eval();
  for (auto _ : state) {
    state.PauseTiming();
    const Tensor y = layered_graph(x, w, bias, nodes, 0.5);
    state.ResumeTiming();
    y.eval();
  }
}

[[maybe_unused]] const bool registered = [] {
  add_benchmark("record_node", record_node);
  add_benchmark("record_node_in_chain", record_node_in_chain);
  compare_modes("tiny_op", tiny_op);
  compare_modes("chain_200", chain_of_200);
  for (int nodes : {500, 5000}) {
    const std::string name = "plan/nodes:" + std::to_string(nodes);
    add_benchmark(name + "/cold", [=](benchmark::State& state) { first_eval(state, nodes); });
    add_benchmark(name + "/warm", [=](benchmark::State& state) { next_eval(state, nodes); });
  }
  return true;
}();

}  // namespace
}  // namespace wick::bench
