#include <cstdint>

#include "backend/cuda/check.h"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/indexing.h"
#include "backend/cuda/indices.cuh"
#include "backend/cuda/launch_kernel.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
/// Updates by rows up to this many look for each other's rows; more go line by line.
constexpr std::int64_t most_searched = 16384;

/// Row-major x as [outer, size, inner], updates as [outer, count, inner]; one index for each update, or, for
/// index_add, one for each of the `count` rows. Indices are those that resolve_indices wrote: below 0 where
/// there is nothing to do.
struct Geometry {
  long long outer;
  long long size;
  long long inner;
  long long count;
  bool index_a_row;

  long long elements() const { return outer * size * inner; }
  long long updates() const { return outer * count * inner; }
};

__global__ void __launch_bounds__(block_threads)
    resolve_indices(const __grid_constant__ IndexList indices, long long* resolved) {
  begin_in_order();
  for (auto i = blockIdx.x * static_cast<unsigned long long>(block_threads) + threadIdx.x;
       i < indices.dims.count; i += static_cast<unsigned long long>(gridDim.x) * block_threads)
    resolved[i] = indices.at(i);
}

/// Adds an update of type T to a sum of type A; integers wrap around.
struct AddUpdate {
  template <typename A, typename T>
  __device__ static A apply(A sum, T update) {
    const Wide<T> value = read(update);
    if constexpr (is_float<Wide<T>>)
      return sum + value;
    else
      return static_cast<A>(static_cast<unsigned long long>(sum) + static_cast<unsigned long long>(value));
  }
};

struct SetUpdate {
  template <typename A, typename T>
  __device__ static A apply(A, T update) {
    return update;
  }
};

/// Each thread takes one of the outer x inner lines along the axis, so updates of a place come in order.
template <typename Update, typename A, typename T>
__global__ void __launch_bounds__(block_threads)
    scatter_lines(const Geometry g, const long long* indices, const T* updates, A* out) {
  begin_in_order();
  for (auto line = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; line < g.outer * g.inner;
       line += static_cast<long long>(gridDim.x) * block_threads) {
    const long long k = line % g.inner;
    A* const targets = out + line / g.inner * g.size * g.inner + k;
    for (long long i = 0; i < g.count; ++i) {
      const long long from = (line / g.inner * g.count + i) * g.inner + k;
      const long long index = indices[g.index_a_row ? i : from];
      if (index < 0) continue;
      A& target = targets[index * g.inner];
      target = Update::apply(target, updates[from]);
    }
  }
}

/// Adds rows: a block works for the row of update blockIdx.x when that is the first of its row, and adds all
/// that go there in their order. Each thread has one column.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    add_rows(const Geometry g, const long long* indices, const T* updates, T* out) {
  begin_in_order();
  const long long own = blockIdx.x;
  const long long row = indices[own];
  if (row < 0) return;
  for (long long first = 0; first < own; first += block_threads) {
    const long long i = first + threadIdx.x;
    if (__syncthreads_or(i < own && indices[i] == row)) return;
  }
  __shared__ unsigned int here[block_threads / 32];
  const long long column = blockIdx.y * static_cast<long long>(block_threads) + threadIdx.x;
  const bool used = column < g.inner;
  Wide<T> sum = used ? read(out[row * g.inner + column]) : Wide<T>{};
  for (long long first = own; first < g.count; first += block_threads) {
    const long long i = first + threadIdx.x;
    const unsigned int found = __ballot_sync(~0u, i < g.count && indices[i] == row);
    if (threadIdx.x % 32 == 0) here[threadIdx.x / 32] = found;
    __syncthreads();
    for (int part = 0; part < block_threads / 32; ++part)
      for (unsigned int bits = here[part]; bits != 0; bits &= bits - 1)
        if (used)
          sum = AddUpdate::apply(
              sum, updates[(first + part * 32 + __ffs(static_cast<int>(bits)) - 1) * g.inner + column]);
    __syncthreads();
  }
  if (used) out[row * g.inner + column] = written<T>(sum);
}

template <typename From, typename To>
__global__ void __launch_bounds__(block_threads) convert_all(const From* from, long long count, To* to) {
  begin_in_order();
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * block_threads)
    to[i] = written<To>(read(from[i]));
}

/// What index_add, scatter_add and scatter share. The output may lie in any of the inputs: indices are
/// resolved first, and updates that it lies in are copied.
class ScatterKernel final : public Kernel {
 public:
  ScatterKernel(const KernelRequest& request, bool adds, bool index_a_row)
      : indices_(request.inputs[1]), dtype_(request.output.dtype), adds_(adds) {
    const Shape& x = request.output.shape();
    const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
    geometry_ = {x.slice(0, axis).elements(), x[axis], x.slice(axis + 1, x.rank()).elements(),
                 request.inputs[2].shape()[axis], index_a_row};
    by_rows_ = adds && index_a_row && geometry_.count <= most_searched;
    narrow_sums_ = adds && !by_rows_ && size_of(dtype_) == 2;
  }

  std::size_t scratch_bytes() const override {
    std::size_t bytes = resolved_bytes() + updates_bytes();
    if (narrow_sums_) bytes += static_cast<std::size_t>(geometry_.elements()) * sizeof(float);
    return bytes;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const cudaStream_t stream = current_launch().stream;
    auto* const indices = static_cast<long long*>(scratch);
    const std::int64_t count = indices_.shape().elements();
    if (count > 0)
      launch_kernel(resolve_indices, {blocks_for(count, block_threads), block_threads}, stream,
                    "resolve_indices", index_list(indices_, inputs[1], geometry_.size), indices);
    if (geometry_.elements() == 0) return;
    const auto bytes = static_cast<std::size_t>(geometry_.elements()) * size_of(dtype_);
    auto* const more = static_cast<std::byte*>(scratch) + resolved_bytes();
    const void* updates = inputs[2];
    if (updates == output && updates_bytes() > 0) {
      check(cudaMemcpyAsync(more, updates, bytes, cudaMemcpyDeviceToDevice, stream), "copying updates");
      updates = more;
    }
    if (output != inputs[0])
      check(cudaMemcpyAsync(output, inputs[0], bytes, cudaMemcpyDeviceToDevice, stream), "copying x");
    if (geometry_.updates() > 0) {
      if (adds_)
        add(indices, updates, output, reinterpret_cast<float*>(more + updates_bytes()));
      else
        visit_word(size_of(dtype_),
                   [&]<typename Word>() { lines<SetUpdate, Word, Word>(indices, updates, output); });
    }
  }

 private:
  std::size_t resolved_bytes() const {
    return (static_cast<std::size_t>(indices_.shape().elements()) * sizeof(long long) + 15) / 16 * 16;
  }
  /// For a copy of the updates, which the output may lie in only when it is as large.
  std::size_t updates_bytes() const {
    if (geometry_.updates() != geometry_.elements()) return 0;
    return (static_cast<std::size_t>(geometry_.elements()) * size_of(dtype_) + 15) / 16 * 16;
  }

  void add(const long long* indices, const void* updates, void* output, float* sums) const {
    const cudaStream_t stream = current_launch().stream;
    visit_element(dtype_, [&]<typename T>() {
      if constexpr (std::is_same_v<T, Bool>) {
        return;  // the op refuses it
      } else if (by_rows_) {
        const dim3 blocks(static_cast<unsigned>(geometry_.count),
                          static_cast<unsigned>((geometry_.inner + block_threads - 1) / block_threads));
        launch_kernel(add_rows<T>, {blocks, block_threads}, stream, "scatter", geometry_, indices,
                      static_cast<const T*>(updates), static_cast<T*>(output));
      } else if constexpr (sizeof(T) == 2) {
        const std::int64_t count = geometry_.elements();
        const unsigned blocks = blocks_for(count, block_threads);
        launch_kernel(convert_all<T, float>, {blocks, block_threads}, stream, "scatter",
                      static_cast<const T*>(output), count, sums);
        lines<AddUpdate, float, T>(indices, updates, sums);
        launch_kernel(convert_all<float, T>, {blocks, block_threads}, stream, "scatter", sums, count,
                      static_cast<T*>(output));
      } else {
        lines<AddUpdate, T, T>(indices, updates, output);
      }
    });
  }

  template <typename Update, typename A, typename T>
  void lines(const long long* indices, const void* updates, void* output) const {
    launch_kernel(scatter_lines<Update, A, T>,
                  {blocks_for(geometry_.outer * geometry_.inner, block_threads), block_threads},
                  current_launch().stream, "scatter", geometry_, indices, static_cast<const T*>(updates),
                  static_cast<A*>(output));
  }

  Slot indices_;
  DType dtype_;
  bool adds_;
  bool by_rows_ = false;
  bool narrow_sums_ = false;
  Geometry geometry_{};
};

}  // namespace

std::unique_ptr<Kernel> prepare_index_add(const KernelRequest& request) {
  return std::make_unique<ScatterKernel>(request, true, true);
}

std::unique_ptr<Kernel> prepare_scatter_add(const KernelRequest& request) {
  return std::make_unique<ScatterKernel>(request, true, false);
}

std::unique_ptr<Kernel> prepare_scatter(const KernelRequest& request) {
  return std::make_unique<ScatterKernel>(request, false, false);
}

}  // namespace wick::cuda
