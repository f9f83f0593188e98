#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>

#include "wick/tensor.h"
#include "wick/tokenizer.h"

// What the benchmark programs share. Names are `case/parameters/variant`; tools/bench.py reads the variant,
// the last part: lazy, compiled, eager and async do the same work, floor is the least that the work can take.
namespace wick::bench {

/// Records the work once and returns its result.
using Record = std::function<Tensor()>;
/// Makes the data that the work needs, then returns what records it. Called before the clock runs.
using Prepare = std::function<Record()>;

/// What one iteration computes and moves, for the counters "FLOP/s" and "bytes/s"; 0: not counted.
struct Work {
  double flops = 0;
  double bytes = 0;
};

/// Standard normal numbers. Made once per process for given arguments: benchmarks run many times.
Tensor random_data(const Shape& shape, DType dtype = DType::f32, std::uint64_t seed = 7);

/// Ids without text: the decoder of the text then has nothing to do.
Tokenizer empty_tokenizer();

/// Times `record` in the loop of `state`: recorded, evaluated and waited for. Sets the counters of `work`,
/// and "peak_bytes" to the memory that evaluation took at most.
void time_lazy(benchmark::State& state, const Record& record, const Work& work = {});
void time_eager(benchmark::State& state, const Record& record, const Work& work = {});
/// Recorded once; only evaluated in the loop.
void time_compiled(benchmark::State& state, const Record& record, const Work& work = {});
void time_async(benchmark::State& state, const Record& record, const Work& work = {});

/// Registers `name`/lazy, `name`/compiled, `name`/eager and `name`/async.
void compare_modes(const std::string& name, const Prepare& prepare, const Work& work = {});

/// Registers one benchmark under wall-clock time. `body` runs the loop of the state.
benchmark::internal::Benchmark* add_benchmark(const std::string& name,
                                              std::function<void(benchmark::State&)> body);
void count_work(benchmark::State& state, const Work& work);

/// The memory that evaluations add from now on, at most. Arenas of earlier ones are given back first.
class PeakMemory {
 public:
  PeakMemory();
  double bytes() const;

 private:
  std::uint64_t held_;
};

/// Calls of `operator new` on this thread so far.
std::uint64_t allocations() noexcept;

}  // namespace wick::bench
