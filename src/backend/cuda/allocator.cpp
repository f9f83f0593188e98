#include "backend/cuda/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

/// Size classes: four to a power of two, multiples of 2 MiB for large blocks.
std::size_t rounded_size(std::size_t bytes) {
  constexpr std::size_t large = std::size_t{8} << 20;
  constexpr std::size_t page = std::size_t{2} << 20;
  if (bytes >= large) return (bytes + page - 1) / page * page;
  const std::size_t step = std::max<std::size_t>(512, std::bit_floor(std::max<std::size_t>(bytes, 1)) / 4);
  return std::max<std::size_t>((bytes + step - 1) / step * step, 512);
}

template <int Device>
void free_on(void* data, std::size_t bytes) noexcept {
  allocator_of(Device).give(data, bytes);
}

template <int... Devices>
constexpr std::array<Storage::Free, sizeof...(Devices)> free_functions(
    std::integer_sequence<int, Devices...> /*devices*/) {
  return {free_on<Devices>...};
}
constexpr auto free_function = free_functions(std::make_integer_sequence<int, most_gpus>{});

}  // namespace

Allocator& allocator_of(int device) {
  static auto& allocators = *[] {
    auto* list = new std::array<std::unique_ptr<Allocator>, most_gpus>;
    for (int i = 0; i < most_gpus; ++i) (*list)[static_cast<std::size_t>(i)] = std::make_unique<Allocator>(i);
    return list;
  }();
  return *allocators[static_cast<std::size_t>(device)];
}

std::shared_ptr<Storage> Allocator::allocate(std::size_t bytes) {
  const GpuScope gpu(device_);
  const std::size_t size = rounded_size(bytes);
  void* block = take_kept(size);
  if (!block) block = take_fresh(size);
  if (!block) {
    release();
    block = take_fresh(size);
  }
  if (!block) {
    const MemoryUse now = use();
    throw MemoryError(
        fmt::format("cannot allocate {} bytes on cuda:{}; {} bytes are held already, {} are free", bytes,
                    device_, now.held, now.free));
  }
  {
    std::lock_guard lock(mutex_);
    held_ += size;
    peak_ = std::max(peak_, held_);
  }
  return std::make_shared<Storage>(block, bytes, free_function[static_cast<std::size_t>(device_)]);
}

/// A block from the system, or null.
void* Allocator::take_fresh(std::size_t rounded) {
  void* block = nullptr;
  free_ = unknown;
  if (cudaMalloc(&block, rounded) == cudaSuccess) return block;
  (void)cudaGetLastError();  // handled by the caller
  return nullptr;
}

/// The kept block of this size that was given back last, or null: loops then meet the same addresses again.
void* Allocator::take_kept(std::size_t rounded) {
  std::lock_guard lock(mutex_);
  auto fit = kept_.upper_bound(rounded);
  if (fit == kept_.begin() || (--fit)->first != rounded) return nullptr;
  void* block = fit->second;
  kept_bytes_ -= fit->first;
  kept_.erase(fit);
  return block;
}

void Allocator::give(void* block, std::size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  const std::size_t size = rounded_size(bytes);
  held_ -= size;
  try {
    kept_.emplace(size, block);
    kept_bytes_ += size;
  } catch (const std::bad_alloc&) {
    cudaFree(block);
  }
}

void Allocator::release() noexcept {
  std::multimap<std::size_t, void*> blocks;
  {
    std::lock_guard lock(mutex_);
    blocks.swap(kept_);
    kept_bytes_ = 0;
  }
  for (const auto& [size, block] : blocks) cudaFree(block);
  free_ = unknown;
}

MemoryUse Allocator::use() const {
  std::size_t free = free_;
  if (free == unknown) {
    const GpuScope gpu(device_);
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    free_ = free;
  }
  std::lock_guard lock(mutex_);
  return {held_, kept_bytes_, peak_, free};
}

void Allocator::reset_peak() {
  std::lock_guard lock(mutex_);
  peak_ = held_;
}

}  // namespace wick::cuda
