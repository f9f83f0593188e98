#include <algorithm>
#include <bit>
#include <cstdint>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/lines.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 512;
/// Entries that a block sorts in shared memory.
template <typename Entry>
constexpr unsigned int chunk_of = 32768 / sizeof(Entry);
/// Steps between entries that lie further apart than a chunk, which a thread makes at once.
constexpr int most_far_steps = 3;

/// Key and position in one word: words differ, so that any sort of them is a stable one of the keys.
using Packed = unsigned long long;

struct Wider {
  unsigned long long key;
  unsigned long long place;
};

__device__ __forceinline__ bool before(Packed a, Packed b) { return a < b; }
__device__ __forceinline__ bool before(const Wider& a, const Wider& b) {
  return a.key < b.key || (a.key == b.key && a.place < b.place);
}
__device__ __forceinline__ long long place_of(Packed entry) {
  return static_cast<long long>(entry & 0xFFFFFFFFull);
}
__device__ __forceinline__ long long place_of(const Wider& entry) {
  return static_cast<long long>(entry.place);
}

/// An unsigned number that orders as the element does, NaN last; equal elements (zeros of both signs, NaNs)
/// get the same one.
template <typename Bits, Bits sign, typename T>
__device__ Bits order_of(T value, Bits bits) {
  if (value != value) return ~Bits{0};
  return bits & sign ? ~bits : bits | sign;
}
__device__ __forceinline__ unsigned int order_key(float value) {
  return order_of<unsigned int, 0x80000000u>(value, __float_as_uint(value + 0.0f));  // -0 becomes 0
}
__device__ __forceinline__ unsigned long long order_key(double value) {
  return order_of<unsigned long long, 0x8000000000000000ull>(
      value, static_cast<unsigned long long>(__double_as_longlong(value + 0.0)));
}
__device__ __forceinline__ unsigned long long order_key(long long value) {
  return static_cast<unsigned long long>(value) ^ 0x8000000000000000ull;
}
__device__ __forceinline__ unsigned int order_key(int value) {
  return static_cast<unsigned int>(value) ^ 0x80000000u;
}
__device__ __forceinline__ unsigned int order_key(unsigned char value) { return value; }
__device__ __forceinline__ unsigned int order_key(bool value) { return value ? 1 : 0; }

template <typename T>
using EntryOf = std::conditional_t<sizeof(T) == 8, Wider, Packed>;

/// Lines of `padded` entries; behind the elements of each stand entries that come last.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    make_entries(const __grid_constant__ Lines lines, const T* x, bool descending, long long padded,
                 EntryOf<T>* entries) {
  begin_in_order();
  const long long count = static_cast<long long>(lines.first.count) * padded;
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * block_threads) {
    const long long place = i % padded;
    auto key = ~decltype(order_key(Wide<T>{})){0};
    if (place < lines.length) {
      key = order_key(read(x[lines.begin(i / padded) + place * lines.stride]));
      if (descending) key = ~key;
    }
    if constexpr (sizeof(T) == 8)
      entries[i] = {key, static_cast<unsigned long long>(place)};
    else
      entries[i] = static_cast<Packed>(key) << 32 | static_cast<Packed>(place);
  }
}

/// One step of Batcher's bitonic sort (1968): the elements that lie `apart` from each other, in runs of `run`
/// that go up and down by turns. All of these are powers of two.
template <typename Entry>
__device__ __forceinline__ void exchange(Entry& a, Entry& b, bool up) {
  const Entry x = a;
  const Entry y = b;
  if (before(y, x) == up) {
    a = y;
    b = x;
  }
}

/// Number `i` of the places whose bits from `low` on, so many, are 0.
__device__ __forceinline__ unsigned int place_without(unsigned int i, unsigned int low, int bits) {
  return (i & ~(low - 1)) << bits | (i & (low - 1));
}

/// All steps of the runs [first_run, last_run] that stay within a chunk. Lines are whole chunks, and the
/// direction is that of the place within the line.
template <typename Entry>
__global__ void __launch_bounds__(block_threads)
    sort_chunks(Entry* entries, unsigned int padded, unsigned int first_run, unsigned int last_run) {
  begin_in_order();
  __shared__ Entry part[chunk_of<Entry>];
  const unsigned int size = min(padded, chunk_of<Entry>);
  const unsigned int start = blockIdx.x * size;
  for (unsigned int k = threadIdx.x; k < size; k += block_threads) part[k] = entries[start + k];
  __syncthreads();
  for (unsigned int run = first_run; run <= last_run; run *= 2) {
    for (unsigned int apart = min(run, size) / 2; apart > 0; apart /= 2) {
      for (unsigned int i = threadIdx.x; i < size / 2; i += block_threads) {
        const unsigned int a = place_without(i, apart, 1);
        exchange(part[a], part[a + apart], ((start + a) & (padded - 1) & run) == 0);
      }
      __syncthreads();
    }
  }
  for (unsigned int k = threadIdx.x; k < size; k += block_threads) entries[start + k] = part[k];
}

/// So many steps, of which the last one is of entries that lie `apart`.
template <int steps, typename Entry>
__global__ void __launch_bounds__(block_threads)
    exchange_far(Entry* entries, unsigned int groups, unsigned int padded, unsigned int run,
                 unsigned int apart) {
  constexpr int count = 1 << steps;
  begin_in_order();
  for (unsigned int i = blockIdx.x * block_threads + threadIdx.x; i < groups;
       i += gridDim.x * block_threads) {
    const unsigned int first = place_without(i, apart, steps);
    const bool up = (first & (padded - 1) & run) == 0;
    Entry held[count];
#pragma unroll
    for (int k = 0; k < count; ++k) held[k] = entries[first + k * apart];
#pragma unroll
    for (int step = count / 2; step > 0; step /= 2)
#pragma unroll
      for (int k = 0; k < count; ++k)
        if ((k & step) == 0) exchange(held[k], held[k + step], up);
#pragma unroll
    for (int k = 0; k < count; ++k) entries[first + k * apart] = held[k];
  }
}

template <typename Entry>
__global__ void __launch_bounds__(block_threads)
    write_places(const __grid_constant__ Lines lines, const Entry* entries, long long padded,
                 long long* out) {
  begin_in_order();
  const long long count = static_cast<long long>(lines.first.count) * lines.length;
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * block_threads) {
    const long long line = i / lines.length;
    const long long k = i % lines.length;
    out[lines.row_major_begin(line) + k * lines.inner] = place_of(entries[line * padded + k]);
  }
}

/// Sorts lines that are filled up to a power of two, in scratch memory.
class ArgsortKernel final : public Kernel {
 public:
  explicit ArgsortKernel(const KernelRequest& request)
      : dtype_(request.inputs[0].dtype),
        descending_(request.attrs.as<SortAttrs>().descending != 0),
        lines_(Lines::of(request.inputs[0].layout, static_cast<int>(request.attrs.as<SortAttrs>().axis))),
        padded_(static_cast<long long>(
            std::bit_ceil(static_cast<std::uint64_t>(std::max<long long>(lines_.length, 2))))) {}

  std::size_t scratch_bytes() const override {
    if (lines_.length == 0) return 0;
    const std::size_t entry = size_of(dtype_) == 8 ? sizeof(Wider) : sizeof(Packed);
    return static_cast<std::size_t>(lines_.count() * padded_) * entry;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (lines_.length == 0 || lines_.count() == 0) return;
    visit_element(dtype_, [&]<typename T>() {
      auto* const entries = static_cast<EntryOf<T>*>(scratch);
      const cudaStream_t stream = current_launch().stream;
      const long long all = lines_.count() * padded_;
      launch_kernel(make_entries<T>, {blocks_for(all, block_threads), block_threads}, stream, "argsort",
                    lines_, static_cast<const T*>(inputs[0]), descending_, padded_, entries);
      sort(entries, static_cast<unsigned int>(all), stream);
      launch_kernel(write_places<EntryOf<T>>,
                    {blocks_for(lines_.count() * lines_.length, block_threads), block_threads}, stream,
                    "argsort", lines_, entries, padded_, static_cast<long long*>(output));
    });
  }

 private:
  template <typename Entry>
  void sort(Entry* entries, unsigned int all, cudaStream_t stream) const {
    constexpr unsigned int chunk = chunk_of<Entry>;
    const auto padded = static_cast<unsigned int>(padded_);
    const unsigned int size = std::min(padded, chunk);
    const Grid chunks{all / size, block_threads};
    launch_kernel(sort_chunks<Entry>, chunks, stream, "argsort", entries, padded, 2, size);
    for (unsigned int run = 2 * size; run <= padded; run *= 2) {
      int left = std::countr_zero(run / chunk);  // steps of entries that lie further apart than a chunk
      while (left > 0) {
        const int steps = std::min(left, most_far_steps);
        left -= steps;
        const auto kernel = steps == 1   ? exchange_far<1, Entry>
                            : steps == 2 ? exchange_far<2, Entry>
                                         : exchange_far<most_far_steps, Entry>;
        const unsigned int groups = all >> steps;
        launch_kernel(kernel, {blocks_for(groups, block_threads), block_threads}, stream, "argsort", entries,
                      groups, padded, run, chunk << left);
      }
      launch_kernel(sort_chunks<Entry>, chunks, stream, "argsort", entries, padded, run, run);
    }
  }

  DType dtype_;
  bool descending_;
  Lines lines_;
  long long padded_;
};

/// Positions have 32 bits, and lines are filled up to twice their length.
bool supports(const KernelRequest& request) {
  return request.output.shape().elements() < Limits<int>::high / 2;
}

constexpr KernelEntry entries[] = {
    {.op = "argsort",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<ArgsortKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::sort() { return entries; }

}  // namespace wick::cuda
