#include "backend/cuda/check.h"
#include "backend/cuda/device/elementwise.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/device/numbers.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/matmul_kernels.h"
#include "backend/cuda/tensor_core.cuh"

namespace wick::cuda {
namespace {

constexpr int tile = 16;

/// A block computes a tile of 16x16 results, one a thread.
template <typename T>
__global__ void __launch_bounds__(tile* tile) plain_product(const PlainProduct p) {
  begin_in_order();
  using Sum = Wide<T>;
  __shared__ Sum a_tile[tile][tile + 1];
  __shared__ Sum b_tile[tile][tile + 1];
  const std::int64_t tiles_n = (p.n + tile - 1) / tile;
  const std::int64_t tiles_m = (p.m + tile - 1) / tile;
  const std::int64_t product = blockIdx.x / (tiles_m * tiles_n);
  const std::int64_t within = blockIdx.x % (tiles_m * tiles_n);
  std::int64_t rest = product;
  const T* a = static_cast<const T*>(p.a);
  const T* b = static_cast<const T*>(p.b);
  for (int d = p.batch_dims - 1; d >= 0; --d) {
    a += rest % p.sizes[d] * p.a_steps[d];
    b += rest % p.sizes[d] * p.b_steps[d];
    rest /= p.sizes[d];
  }
  const int x = static_cast<int>(threadIdx.x);
  const int y = static_cast<int>(threadIdx.y);
  const std::int64_t row = within / tiles_n * tile + y;
  const std::int64_t column = within % tiles_n * tile + x;
  Sum sum = 0;
  for (std::int64_t first = 0; first < p.k; first += tile) {
    const std::int64_t a_column = first + x;
    const std::int64_t b_row = first + y;
    const bool a_inside = row < p.m && a_column < p.k;
    const bool b_inside = column < p.n && b_row < p.k;
    a_tile[y][x] = a_inside ? read(a[row * p.a_row + a_column * p.a_column]) : Sum(0);
    b_tile[y][x] = b_inside ? read(b[b_row * p.b_row + column * p.b_column]) : Sum(0);
    __syncthreads();
    // Only real terms: zero times infinity would be a term that is not there.
    const int depth = p.k - first < tile ? static_cast<int>(p.k - first) : tile;
    for (int i = 0; i < depth; ++i) sum = static_cast<Sum>(sum + a_tile[y][i] * b_tile[i][x]);
    __syncthreads();
  }
  if (row >= p.m || column >= p.n) return;
  T* const to = static_cast<T*>(p.out) + (product * p.m + row) * p.n + column;
  *to = written<T>(p.accumulate ? static_cast<Sum>(sum + read(*to)) : sum);
}

template <typename T>
void launch_plain(const PlainProduct& p, cudaStream_t stream) {
  const std::int64_t blocks = p.batch * ((p.m + tile - 1) / tile) * ((p.n + tile - 1) / tile);
  launch_kernel(plain_product<T>, {static_cast<unsigned>(blocks), dim3(tile, tile)}, stream,
                "a plain product", p);
}

/// A block multiplies 16 rows of the matrix, its warps taking turns along the depth; vectors are the columns
/// of the right operand, 8 a tile. The sum over the depth has no order of its own, so that each thread takes
/// 8 elements that lie together for the 2 x 4 that two instructions want of it.
template <typename T, int Tiles>
__global__ void __launch_bounds__(512) thin_product(const ThinProduct p) {
  begin_in_order();
  constexpr int parts = Tiles == 1 ? 4 : 2;  // of 32 elements, whose loads are under way together
  extern __shared__ float partial[];         // [warps][Tiles * 8][16]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int group = lane / 4;
  const int place = lane % 4 * 8;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * 16;
  const std::int64_t last = p.rows - 1;
  const std::int64_t upper = first + group < last ? first + group : last;
  const std::int64_t lower = first + group + 8 < last ? first + group + 8 : last;
  const T* const upper_row = static_cast<const T*>(p.matrix) + upper * p.stride;
  const T* const lower_row = static_cast<const T*>(p.matrix) + lower * p.stride;
  const uint4 zero = make_uint4(0, 0, 0, 0);

  SumTile sums[Tiles];
  for (std::int64_t k = warp * (parts * 32); k < p.depth; k += warps * (parts * 32)) {
    uint4 a[parts][2];
    uint4 b[parts][Tiles];
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      const std::int64_t at = k + i * 32 + place;
      const bool inside = at < p.depth;
      a[i][0] = inside ? load_once(upper_row + at) : zero;
      a[i][1] = inside ? load_once(lower_row + at) : zero;
    }
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      const std::int64_t at = k + i * 32 + place;
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        const std::int64_t v = t * 8 + group;
        const T* from = static_cast<const T*>(p.vectors) + v * p.vector_stride + at;
        b[i][t] = at < p.depth && v < p.count ? *reinterpret_cast<const uint4*>(from) : zero;
      }
    }
#pragma unroll
    for (int i = 0; i < parts; ++i) {
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        multiply_add<T>(sums[t], {a[i][0].x, a[i][1].x, a[i][0].y, a[i][1].y}, {b[i][t].x, b[i][t].y});
        multiply_add<T>(sums[t], {a[i][0].z, a[i][1].z, a[i][0].w, a[i][1].w}, {b[i][t].z, b[i][t].w});
      }
    }
  }

  constexpr int values = Tiles * 8 * 16;
  float* const own = partial + warp * values;
#pragma unroll
  for (int t = 0; t < Tiles; ++t)
#pragma unroll
    for (int i = 0; i < 4; ++i) own[(t * 8 + lane % 4 * 2 + i % 2) * 16 + group + i / 2 * 8] = sums[t].x[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < values; i += static_cast<int>(blockDim.x)) {
    const std::int64_t row = first + i % 16;
    const std::int64_t v = i / 16;
    if (row >= p.rows || v >= p.count) continue;
    float sum = p.bias ? read(static_cast<const T*>(p.bias)[row]) : 0.0f;
    for (int w = 0; w < warps; ++w) sum += partial[w * values + i];
    T* const to = static_cast<T*>(p.out) + row * p.row_step + v * p.vector_step;
    *to = written<T>(p.accumulate ? sum + read(*to) : sum);
  }
}

/// The product of 8 elements by 8, added to `sum` in their order.
template <typename T>
__device__ float add_products(float sum, const uint4& a, const uint4& b) {
  T x[8];
  T y[8];
  memcpy(x, &a, sizeof a);
  memcpy(y, &b, sizeof b);
#pragma unroll
  for (int i = 0; i < 8; ++i) sum = fmaf(read(x[i]), read(y[i]), sum);
  return sum;
}

constexpr int vector_block = 128;

/// One vector: a warp multiplies `Rows` rows of the matrix, each read 512 bytes at a time.
template <typename T, int Rows>
__global__ void __launch_bounds__(vector_block) vector_product(const ThinProduct p) {
  begin_in_order();
  constexpr int parts = 4;  // of 256 elements, whose loads are under way together
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warp = (static_cast<std::int64_t>(blockIdx.x) * vector_block + threadIdx.x) / 32;
  const std::int64_t first = warp * Rows;
  if (first >= p.rows) return;
  const T* rows[Rows];
  float sums[Rows];
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    const std::int64_t row = first + r < p.rows ? first + r : p.rows - 1;
    rows[r] = static_cast<const T*>(p.matrix) + row * p.stride;
    sums[r] = 0;
  }
  const uint4 zero = make_uint4(0, 0, 0, 0);
  for (std::int64_t k = lane * 8; k < p.depth; k += parts * 256) {
    uint4 a[parts][Rows];
    uint4 b[parts];
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      const std::int64_t at = k + i * 256;
#pragma unroll
      for (int r = 0; r < Rows; ++r) a[i][r] = at < p.depth ? load_once(rows[r] + at) : zero;
    }
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      const std::int64_t at = k + i * 256;
      b[i] = at < p.depth ? *reinterpret_cast<const uint4*>(static_cast<const T*>(p.vectors) + at) : zero;
    }
#pragma unroll
    for (int i = 0; i < parts; ++i)
#pragma unroll
      for (int r = 0; r < Rows; ++r) sums[r] = add_products<T>(sums[r], a[i][r], b[i]);
  }
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    for (int step = 16; step > 0; step /= 2) sums[r] += __shfl_xor_sync(~0u, sums[r], step);
    const std::int64_t row = first + r;
    if (lane != 0 || row >= p.rows) continue;
    const float sum = p.bias ? sums[r] + read(static_cast<const T*>(p.bias)[row]) : sums[r];
    T* const to = static_cast<T*>(p.out) + row * p.row_step;
    *to = written<T>(p.accumulate ? sum + read(*to) : sum);
  }
}

template <typename T, int Rows>
void launch_vector_product(const ThinProduct& p, cudaStream_t stream) {
  constexpr std::int64_t rows_of_block = vector_block / 32 * Rows;
  const auto blocks = static_cast<unsigned>((p.rows + rows_of_block - 1) / rows_of_block);
  launch_kernel(vector_product<T, Rows>, {blocks, vector_block}, stream, "a product with a vector", p);
}

template <typename T>
__global__ void apply_epilogue(T* out, Activation activation, const T* added, std::int64_t count) {
  begin_in_order();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float value = read(out[i]);
  if (activation == Activation::gelu_tanh) value = ops::gelu_tanh(value);
  out[i] = written<T>(added ? value + read(added[i]) : value);
}

template <typename T>
__global__ void add_bias(T* out, const T* bias, std::int64_t count, std::int64_t columns) {
  begin_in_order();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) out[i] = written<T>(read(out[i]) + read(bias[i % columns]));
}

template <typename From, typename To>
__global__ void convert_floats(const From* from, To* to, std::int64_t count) {
  begin_in_order();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) to[i] = written<To>(convert<Wide<To>>(read(from[i])));
}

unsigned blocks_of(std::int64_t count) { return static_cast<unsigned>((count + 255) / 256); }

}  // namespace

void launch_plain_product(DType dtype, const PlainProduct& product, cudaStream_t stream) {
  switch (dtype) {
    case DType::u8: launch_plain<std::uint8_t>(product, stream); break;
    case DType::i32: launch_plain<std::uint32_t>(product, stream); break;
    case DType::i64: launch_plain<std::uint64_t>(product, stream); break;
    default: visit_float(dtype, [&]<typename T>() { launch_plain<T>(product, stream); });
  }
}

void launch_thin_product(DType dtype, const ThinProduct& product, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((product.rows + 15) / 16);
  // Fewer blocks than multiprocessors have room for need more loads under way in each.
  const unsigned threads = blocks < 256 ? 512 : 256;
  const std::size_t shared = threads / 32 * 16 * 8 * sizeof(float);
  visit_half(dtype, [&]<typename T>() {
    // Few rows: more warps. Many: each part of the vector serves several.
    if (product.count == 1 && product.rows < 4096)
      launch_vector_product<T, 1>(product, stream);
    else if (product.count == 1)
      launch_vector_product<T, 2>(product, stream);
    else if (product.count <= 8)
      launch_kernel(thin_product<T, 1>, {blocks, threads, shared}, stream, "a product with few vectors",
                    product);
    else
      launch_kernel(thin_product<T, 2>, {blocks, threads, 2 * shared}, stream, "a product with few vectors",
                    product);
  });
}

void launch_add_bias(DType dtype, void* out, const void* bias, std::int64_t rows, std::int64_t columns,
                     cudaStream_t stream) {
  visit_float(dtype, [&]<typename T>() {
    launch_kernel(add_bias<T>, {blocks_of(rows * columns), 256}, stream, "adding a bias",
                  static_cast<T*>(out), static_cast<const T*>(bias), rows * columns, columns);
  });
}

void launch_epilogue(DType dtype, void* out, Activation activation, const void* added, std::int64_t count,
                     cudaStream_t stream) {
  visit_narrow(dtype, [&]<typename T>() {
    launch_kernel(apply_epilogue<T>, {blocks_of(count), 256}, stream, "finishing a product",
                  static_cast<T*>(out), activation, static_cast<const T*>(added), count);
  });
}

void launch_convert(DType from_dtype, const void* from, DType to_dtype, void* to, std::int64_t count,
                    cudaStream_t stream) {
  visit_float(from_dtype, [&]<typename From>() {
    visit_float(to_dtype, [&]<typename To>() {
      launch_kernel(convert_floats<From, To>, {blocks_of(count), 256}, stream, "converting floats",
                    static_cast<const From*>(from), static_cast<To*>(to), count);
    });
  });
}

}  // namespace wick::cuda
