#include "backend/cpu/dispatch.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/philox.h"
#include "backend/cpu/row_parallel.h"

namespace wick {
namespace {

using Words = std::array<std::uint32_t, 4>;

/// Elements that one block of four words makes.
template <typename T>
constexpr std::int64_t elements_a_block = std::is_same_v<T, double> ? 2 : 4;

/// Element `i` of a block, in [0, 1): as many of the leading bits as T can hold without rounding up to 1.
template <typename T>
T uniform_element(const Words& words, std::size_t i) {
  if constexpr (std::is_same_v<T, double>)
    return static_cast<double>((std::uint64_t{words[2 * i + 1]} << 32 | words[2 * i]) >> 11) * 0x1p-53;
  else if constexpr (std::is_same_v<T, float16>)
    return T(static_cast<float>(words[i] >> 21) * 0x1p-11f);
  else if constexpr (std::is_same_v<T, bfloat16>)
    return T(static_cast<float>(words[i] >> 24) * 0x1p-8f);
  else
    return static_cast<T>(static_cast<float>(words[i] >> 8) * 0x1p-24f);
}

constexpr std::uint32_t low_word(std::int64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high_word(std::int64_t value) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) >> 32);
}

/// The seed is Philox's key; the counter is the number of the block, and the stream.
Words block(const std::int64_t* key, std::int64_t number) {
  return philox_4x32_10({low_word(number), high_word(number), low_word(key[1]), high_word(key[1])},
                        {low_word(key[0]), high_word(key[0])});
}

class RandomUniformKernel final : public Kernel {
 public:
  explicit RandomUniformKernel(const KernelRequest& request)
      : dtype_(request.output.dtype), count_(request.output.shape().elements()) {}

  void run(const void* const* inputs, void* output, void*) const override {
    const auto* const key = static_cast<const std::int64_t*>(inputs[0]);
    visit_dtype(dtype_, [&]<typename T>() {
      T* const out = static_cast<T*>(output);
      constexpr std::int64_t step = elements_a_block<T>;
      parallel_rows((count_ + step - 1) / step, step, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
          const Words words = block(key, b);
          const std::int64_t n = std::min(step, count_ - b * step);
          for (std::int64_t i = 0; i < n; ++i)
            out[b * step + i] = uniform_element<T>(words, static_cast<std::size_t>(i));
        }
      });
    });
  }

 private:
  DType dtype_;
  std::int64_t count_;
};

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<RandomUniformKernel>(request);
}

constexpr KernelEntry entries[] = {{.op = "random_uniform", .prepare = prepare}};

}  // namespace

cpu_kernels::Entries cpu_kernels::random() { return entries; }

}  // namespace wick
