#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;

/// Philox-4x32-10 (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405), with the same bits as on the
/// CPU: the seed is the key; the counter is the number of the block of four words, and the stream.
__device__ uint4 random_words(const long long* key, long long block) {
  const auto low = [](long long value) { return static_cast<unsigned int>(value); };
  const auto high = [](long long value) {
    return static_cast<unsigned int>(static_cast<unsigned long long>(value) >> 32);
  };
  uint4 words{low(block), high(block), low(key[1]), high(key[1])};
  unsigned int key0 = low(key[0]);
  unsigned int key1 = high(key[0]);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned long long a = 0xD2511F53ull * words.x;
    const unsigned long long b = 0xCD9E8D57ull * words.z;
    words = {static_cast<unsigned int>(b >> 32) ^ words.y ^ key0, static_cast<unsigned int>(b),
             static_cast<unsigned int>(a >> 32) ^ words.w ^ key1, static_cast<unsigned int>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return words;
}

/// In [0, 1): as many of the leading bits as T can hold without rounding up to 1.
template <typename T>
__device__ T uniform_element(unsigned int word) {
  if constexpr (std::is_same_v<T, F16>)
    return written<F16>(static_cast<float>(word >> 21) * 0x1p-11f);
  else if constexpr (std::is_same_v<T, Bf16>)
    return written<Bf16>(static_cast<float>(word >> 24) * 0x1p-8f);
  else
    return static_cast<float>(word >> 8) * 0x1p-24f;
}

template <typename T>
__global__ void __launch_bounds__(block_threads) fill_uniform(const long long* key, long long count, T* out) {
  begin_in_order();
  constexpr int a_block = std::is_same_v<T, double> ? 2 : 4;
  const long long blocks = (count + a_block - 1) / a_block;
  for (auto b = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; b < blocks;
       b += static_cast<long long>(gridDim.x) * block_threads) {
    const uint4 words = random_words(key, b);
    Pack<T, a_block> made;
    if constexpr (std::is_same_v<T, double>) {
      const auto unit = [](unsigned int low, unsigned int high) {
        return static_cast<double>((static_cast<unsigned long long>(high) << 32 | low) >> 11) * 0x1p-53;
      };
      made = {unit(words.x, words.y), unit(words.z, words.w)};
    } else {
      made = {uniform_element<T>(words.x), uniform_element<T>(words.y), uniform_element<T>(words.z),
              uniform_element<T>(words.w)};
    }
    const long long left = count - b * a_block;
    store_pack(out + b * a_block, made, left < a_block ? static_cast<int>(left) : a_block);
  }
}

class RandomUniformKernel final : public Kernel {
 public:
  explicit RandomUniformKernel(const KernelRequest& request)
      : dtype_(request.output.dtype), count_(request.output.shape().elements()) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (count_ == 0) return;
    const auto fill = [&]<typename T>() {
      launch_kernel(fill_uniform<T>, {blocks_for((count_ + 1) / 2, block_threads), block_threads},
                    current_launch().stream, "fill_uniform", static_cast<const long long*>(inputs[0]), count_,
                    static_cast<T*>(output));
    };
    visit_float(dtype_, fill);
  }

 private:
  DType dtype_;
  std::int64_t count_;
};

constexpr KernelEntry entries[] = {
    {.op = "random_uniform", .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<RandomUniformKernel>(request);
     }}};

}  // namespace

kernels::Entries kernels::random() { return entries; }

}  // namespace wick::cuda
