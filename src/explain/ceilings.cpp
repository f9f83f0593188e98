#include "explain/ceilings.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/threads.h"
#include "core/trace.h"
#include "graph/node.h"
#include "graph/record.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"

namespace wick {
namespace {

constexpr std::int64_t enough = 10'000'000;  // ns: measuring ends after the run that passes it
constexpr std::size_t read_bytes = std::size_t{128} << 20;

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

/// Memory that no statistics of evaluations count.
std::unique_ptr<std::byte, void (*)(void*)> block_of(std::size_t bytes) {
  void* memory = std::aligned_alloc(64, (std::max<std::size_t>(bytes, 1) + 63) / 64 * 64);
  if (!memory) throw MemoryError("no memory to measure what this machine can do");
  return {static_cast<std::byte*>(memory), std::free};
}

Tensor stand_in(const Shape& shape, DType dtype) {
  return Tensor(Node::make_data({nullptr, Layout::contiguous(shape), nullptr}, dtype, cpu));
}

double measured_flops(DType dtype) {
  constexpr std::int64_t n = 768;
  const LazyScope lazy;
  const Slot slot{dtype, Layout::contiguous(Shape{n, n})};
  const Tensor product = matmul(stand_in(slot.shape(), dtype), stand_in(slot.shape(), dtype));
  const Node& node = *product.node();
  const std::vector<Slot> inputs{slot, slot};
  const KernelRequest request{*node.op(), node.attrs(), inputs, slot};
  const KernelEntry* entry = backend_for(cpu).find(*node.op());
  if (!entry || (entry->supports && !entry->supports(request))) return 0;
  const auto kernel = entry->prepare(request);
  const std::size_t bytes = static_cast<std::size_t>(n * n) * size_of(dtype);
  const auto operand = block_of(bytes);
  const auto result = block_of(bytes);
  const auto scratch = block_of(kernel->scratch_bytes());
  std::memset(operand.get(), 0, bytes);
  const void* const operands[] = {operand.get(), operand.get()};
  const double seconds = fastest([&] { kernel->run(operands, result.get(), scratch.get()); });
  return 2.0 * n * n * n / seconds;
}

double measured_bandwidth() {
  const auto block = block_of(read_bytes);
  auto* words = reinterpret_cast<std::uint64_t*>(block.get());
  constexpr auto count = static_cast<std::int64_t>(read_bytes / sizeof(std::uint64_t));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) words[i] = static_cast<std::uint64_t>(i);
  volatile std::uint64_t sink = 0;
  const double seconds = fastest([&] {
    std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (std::int64_t i = 0; i < count; ++i) sum += words[i];
    sink = sum;
  });
  return static_cast<double>(read_bytes) / seconds;
}

/// What was measured with some number of threads, by name.
template <typename Key>
double once(Key key, double (*measure)(Key)) {
  static std::mutex mutex;
  static std::map<std::pair<int, Key>, double> known;
  std::lock_guard lock(mutex);
  const auto [at, is_new] = known.try_emplace({threads(), key}, 0);
  if (is_new) {
    use_configured_threads();
    at->second = measure(key);
  }
  return at->second;
}

}  // namespace

double peak_flops(Device device, DType dtype) {
  if (device.kind != DeviceKind::cpu) return 0;
  return once<DType>(is_floating(dtype) ? dtype : DType::f32, measured_flops);
}

double peak_bandwidth(Device device) {
  if (device.kind != DeviceKind::cpu) return 0;
  return once<char>('r', [](char) { return measured_bandwidth(); });
}

}  // namespace wick
