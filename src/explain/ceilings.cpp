#include "explain/ceilings.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/run_step.h"
#include "backend/threads.h"
#include "core/counter_random.h"
#include "core/trace.h"
#include "graph/node.h"
#include "graph/record.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

constexpr std::int64_t enough = 10'000'000;  // ns: measuring ends after the run that passes it

/// Runs `work` a few times after a first one and gives the seconds of the fastest.
double fastest(const std::function<void()>& work) {
  work();
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  const std::int64_t start = trace::now();
  std::int64_t begin = start;
  do {
    work();
    const std::int64_t end = trace::now();
    best = std::min(best, end - begin);
    begin = end;
  } while (begin - start < enough);
  return static_cast<double>(std::max<std::int64_t>(best, 1)) * 1e-9;
}

/// Sizes at which a device is busy for long enough.
struct Sizes {
  std::int64_t matrix;     ///< rows and columns
  std::size_t read_bytes;  ///< several times what caches hold
  std::size_t times;       ///< that the work is done in one run, so that starting it does not count
};

Sizes sizes_for(Device device) {
  if (device == cpu) return {.matrix = 768, .read_bytes = std::size_t{128} << 20, .times = 1};
  return {.matrix = 4096, .read_bytes = std::size_t{1} << 30, .times = 4};
}

/// Of the host, memory that no statistics of evaluations count. Throws MemoryError.
std::shared_ptr<std::byte> block_on(Device device, std::size_t bytes) {
  bytes = (std::max<std::size_t>(bytes, 1) + 63) / 64 * 64;
  if (device != cpu) {
    auto storage = backend_for(device).allocate(bytes);
    std::byte* const data = storage->data();
    return {std::move(storage), data};
  }
  void* memory = std::aligned_alloc(64, bytes);
  if (!memory) throw MemoryError("no memory to measure what this machine can do");
  return {static_cast<std::byte*>(memory), std::free};
}

/// An operand whose elements are positive numbers of many bits in every dtype: hardware is faster on zeros.
std::shared_ptr<std::byte> numbers_on(Device device, std::size_t bytes) {
  std::vector<std::uint64_t> words(std::min<std::size_t>((bytes + 7) / 8, std::size_t{1} << 19));
  const CounterRandom random(1);
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = 0x3838383838383838 | (random.word(i) & 0x0707070707070707);
  auto block = block_on(device, bytes);
  for (std::size_t at = 0; at < bytes; at += words.size() * 8)
    backend_for(device).upload(words.data(), block.get() + at, std::min(bytes - at, words.size() * 8));
  return block;
}

Tensor stand_in(const Slot& slot, Device device) {
  return Tensor(Node::make_data({nullptr, slot.layout, nullptr}, slot.dtype, device));
}

/// Seconds that an op takes on operands that are all the same one, without an evaluation; 0 where its kernel
/// does not exist.
double seconds_of(Tensor (*record_op)(const Tensor&), DType dtype, const Shape& shape, Device device) {
  const LazyScope lazy;
  const Backend& backend = backend_for(device);
  const Slot slot{dtype, Layout::contiguous(shape)};
  const Tensor result = record_op(stand_in(slot, device));
  const Node& node = *result.node();
  const std::vector<Slot> inputs(node.input_count(), slot);
  const KernelRequest request{*node.op(), node.attrs(), inputs,
                              Slot{result.dtype(), Layout::contiguous(result.shape())}};
  const KernelEntry* entry = backend.find(*node.op());
  if (!entry || (entry->supports && !entry->supports(request))) return 0;

  const std::size_t times = sizes_for(device).times;
  std::vector<Step> steps(times);
  for (Step& step : steps) {
    step.kernel = entry->prepare(request);
    for (std::size_t k = 0; k < inputs.size(); ++k) step.inputs.push_back({1, 0});
    step.output = {2, 0};
  }
  const auto scratch = block_on(device, steps[0].kernel->scratch_bytes());
  const auto operand = numbers_on(device, static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  const auto output = block_on(device, result.bytes());
  std::byte* const bases[] = {scratch.get(), operand.get(), output.get()};
  const std::vector<const void*> operands(inputs.size(), operand.get());
  const auto program = backend.make_program(steps, std::vector<BaseUse>(std::size(bases)));
  const double seconds = fastest([&] {
    if (program) {
      if (const auto running = program->start(bases, {}, {})) running->wait();
      return;
    }
    for (const Step& step : steps) run_step(step, operands.data(), bases);
  });
  return seconds / static_cast<double>(times);
}

double measured_flops(Device device, DType dtype) {
  const std::int64_t n = sizes_for(device).matrix;
  const double seconds = seconds_of([](const Tensor& x) { return matmul(x, x); }, dtype, {n, n}, device);
  return seconds > 0 ? 2.0 * static_cast<double>(n * n * n) / seconds : 0;
}

double measured_bandwidth(Device device) {
  const std::size_t bytes = sizes_for(device).read_bytes;
  const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
  return static_cast<double>(bytes) /
         seconds_of([](const Tensor& x) { return sum(x); }, DType::f32, {count}, device);
}

/// What was measured of a device with some number of threads; 0 where there was no memory for it.
template <typename Measure>
double once(Device device, const std::string& what, const Measure& measure) {
  static std::mutex mutex;
  static std::map<std::string, double> known;
  std::lock_guard lock(mutex);
  const std::string key = device.str() + " " + what + " " + std::to_string(threads());
  const auto [at, is_new] = known.try_emplace(key, 0);
  if (is_new) {
    use_configured_threads();
    try {
      at->second = measure();
    } catch (const MemoryError&) {
      known.erase(at);
      return 0;
    }
  }
  return at->second;
}

}  // namespace

double peak_flops(Device device, DType dtype) {
  const DType multiplied = is_floating(dtype) ? dtype : DType::f32;
  return once(device, std::string(name_of(multiplied)), [&] { return measured_flops(device, multiplied); });
}

double peak_bandwidth(Device device) {
  return once(device, "reading", [&] { return measured_bandwidth(device); });
}

}  // namespace wick
