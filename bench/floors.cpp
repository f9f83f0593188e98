#include "floors.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <vector>

namespace wick::bench {

using Memory = dnnl::memory;

struct PackedMatmul::Parts {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  Memory a;
  Memory b;
  Memory c;
};

namespace {

Memory filled(const Memory::desc& desc, const dnnl::engine& engine) {
  Memory memory(desc, engine);
  auto* bits = static_cast<std::uint16_t*>(memory.get_data_handle());
  for (std::size_t i = 0; i < desc.get_size() / 2; ++i)
    bits[i] = static_cast<std::uint16_t>(0x3f00 + i % 97);  // about 0.5, as bf16 and as f32
  return memory;
}

}  // namespace

PackedMatmul::PackedMatmul(std::int64_t m, std::int64_t k, std::int64_t n, DType dtype)
    : parts_(std::make_unique<Parts>()) {
  using Tag = Memory::format_tag;
  const auto type = dtype == DType::bf16 ? Memory::data_type::bf16 : Memory::data_type::f32;
  const Memory::desc a({m, k}, type, Tag::ab);
  const Memory::desc b({k, n}, type, Tag::ab);
  const Memory::desc c({m, n}, type, Tag::ab);
  const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(a, Memory::desc({k, n}, type, Tag::any), c),
                                            parts_->engine);
  parts_->product = dnnl::matmul(chosen);
  parts_->a = filled(a, parts_->engine);
  parts_->c = filled(c, parts_->engine);
  Memory plain = filled(b, parts_->engine);
  parts_->b = Memory(chosen.weights_desc(), parts_->engine);
  dnnl::reorder(plain, parts_->b).execute(parts_->stream, plain, parts_->b);
  parts_->stream.wait();
}

PackedMatmul::~PackedMatmul() = default;

void PackedMatmul::run() {
  parts_->product.execute(
      parts_->stream, {{DNNL_ARG_SRC, parts_->a}, {DNNL_ARG_WEIGHTS, parts_->b}, {DNNL_ARG_DST, parts_->c}});
  parts_->stream.wait();
}

void parallel_copy(void* to, const void* from, std::size_t bytes) {
#pragma omp parallel
  {
    const auto count = static_cast<std::size_t>(omp_get_num_threads());
    const auto index = static_cast<std::size_t>(omp_get_thread_num());
    const std::size_t begin = bytes / 64 * index / count * 64;
    const std::size_t end = index + 1 == count ? bytes : bytes / 64 * (index + 1) / count * 64;
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin, end - begin);
  }
}

std::uint64_t parallel_read(const void* from, std::size_t bytes) {
  const auto* words = static_cast<const std::uint64_t*>(from);
  const auto count = static_cast<std::int64_t>(bytes / sizeof(std::uint64_t));
  std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += words[i];
  return sum;
}

}  // namespace wick::bench
