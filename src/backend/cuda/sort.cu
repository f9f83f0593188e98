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
constexpr long long chunk = 2 * block_threads;  // elements that a block sorts in shared memory

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
/// that go up and down by turns.
template <typename Entry>
__device__ __forceinline__ void exchange(Entry& a, Entry& b, bool up) {
  const Entry x = a;
  const Entry y = b;
  if (before(y, x) == up) {
    a = y;
    b = x;
  }
}

/// The first element of pair number `i`.
__device__ __forceinline__ long long first_of_pair(long long i, long long apart) {
  return i / apart * 2 * apart + i % apart;
}

/// All steps of the runs [first_run, last_run] that stay within a chunk. Lines are whole chunks, and the
/// direction is that of the place within the line.
template <typename Entry>
__global__ void __launch_bounds__(block_threads)
    sort_chunks(Entry* entries, long long padded, long long first_run, long long last_run) {
  begin_in_order();
  __shared__ Entry part[chunk];
  const long long size = padded < chunk ? padded : chunk;
  const long long start = static_cast<long long>(blockIdx.x) * size;
  for (long long k = threadIdx.x; k < size; k += block_threads) part[k] = entries[start + k];
  __syncthreads();
  for (long long run = first_run; run <= last_run; run *= 2) {
    for (long long apart = min(run, size) / 2; apart > 0; apart /= 2) {
      for (long long i = threadIdx.x; i < size / 2; i += block_threads) {
        const long long a = first_of_pair(i, apart);
        exchange(part[a], part[a + apart], ((start + a) % padded & run) == 0);
      }
      __syncthreads();
    }
  }
  for (long long k = threadIdx.x; k < size; k += block_threads) entries[start + k] = part[k];
}

template <typename Entry>
__global__ void __launch_bounds__(block_threads)
    exchange_far(Entry* entries, long long pairs, long long padded, long long run, long long apart) {
  begin_in_order();
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; i < pairs;
       i += static_cast<long long>(gridDim.x) * block_threads) {
    const long long a = first_of_pair(i, apart);
    exchange(entries[a], entries[a + apart], (a % padded & run) == 0);
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
      sort(entries, all, stream);
      launch_kernel(write_places<EntryOf<T>>,
                    {blocks_for(lines_.count() * lines_.length, block_threads), block_threads}, stream,
                    "argsort", lines_, entries, padded_, static_cast<long long*>(output));
    });
  }

 private:
  template <typename Entry>
  void sort(Entry* entries, long long all, cudaStream_t stream) const {
    const long long size = std::min(padded_, chunk);
    const auto chunks = static_cast<unsigned>(all / size);
    launch_kernel(sort_chunks<Entry>, {chunks, block_threads}, stream, "argsort", entries, padded_, 2, size);
    for (long long run = 2 * size; run <= padded_; run *= 2) {
      for (long long apart = run / 2; apart >= chunk; apart /= 2)
        launch_kernel(exchange_far<Entry>, {blocks_for(all / 2, block_threads), block_threads}, stream,
                      "argsort", entries, all / 2, padded_, run, apart);
      launch_kernel(sort_chunks<Entry>, {chunks, block_threads}, stream, "argsort", entries, padded_, run,
                    run);
    }
  }

  DType dtype_;
  bool descending_;
  Lines lines_;
  long long padded_;
};

/// Positions have 32 bits in packed entries; a chunk has one block.
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
