#include "core/block_pool.h"

#include <array>
#include <new>

#include "core/sanitizers.h"

namespace wick::block_pool {
namespace {

constexpr std::size_t granule = 32;
constexpr std::size_t classes = 16;          // blocks of up to 512 bytes
constexpr std::size_t most_blocks = 16'384;  // of a class, on a thread

struct FreeBlock {
  FreeBlock* next;
};

struct FreeList {
  FreeBlock* first;
  std::size_t count;
};

// Constant initialisation and no destructor: usable while other objects of the thread are destroyed.
thread_local std::array<FreeList, classes> lists{};
thread_local bool closed = false;

/// Frees what is kept when the thread ends; later frees go to the system.
struct AtThreadEnd {
  ~AtThreadEnd() {
    closed = true;
    for (FreeList& list : lists)
      while (FreeBlock* block = list.first) {
        list.first = block->next;
        ::operator delete(block);
      }
  }
};

constexpr std::size_t class_of(std::size_t bytes) { return (bytes + granule - 1) / granule; }

}  // namespace

void* take(std::size_t bytes) {
  const std::size_t c = class_of(bytes);
  if (c >= classes || checks_addresses) return ::operator new(bytes);
  FreeList& list = lists[c];
  if (FreeBlock* block = list.first) {
    list.first = block->next;
    --list.count;
    return block;
  }
  return ::operator new(c* granule);
}

void give(void* memory, std::size_t bytes) noexcept {
  const std::size_t c = class_of(bytes);
  if (c < classes && !checks_addresses && !closed) {
    FreeList& list = lists[c];
    if (list.count == 0) [[unlikely]] {
      thread_local const AtThreadEnd at_end;
      static_cast<void>(at_end);
    }
    if (list.count < most_blocks) {
      list.first = new (memory) FreeBlock{list.first};
      ++list.count;
      return;
    }
  }
  ::operator delete(memory);
}

}  // namespace wick::block_pool
