#include "core/block_pool.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace wick {
namespace {

TEST(BlockPool, BlocksInUseAreApart) {
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (std::size_t bytes : {1u, 31u, 32u, 33u, 200u, 511u, 512u, 513u, 4096u})
    for (int i = 0; i < 20; ++i) {
      auto* block = static_cast<unsigned char*>(block_pool::take(bytes));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t), 0u);
      std::memset(block, static_cast<int>(blocks.size() % 251), bytes);
      blocks.emplace_back(block, bytes);
    }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t k = 0; k < blocks[i].second; ++k) ASSERT_EQ(blocks[i].first[k], i % 251);
    block_pool::give(blocks[i].first, blocks[i].second);
  }
}

TEST(BlockPool, BlocksMayBeFreedOnOtherThreadsAndOutliveTheirs) {
  std::vector<void*> taken;
  std::thread([&] {
    for (int i = 0; i < 1000; ++i) taken.push_back(block_pool::take(100));
  }).join();
  std::thread([&] {
    for (void* block : taken) block_pool::give(block, 100);
    std::set<void*> again;
    for (int i = 0; i < 1000; ++i) again.insert(block_pool::take(100));
    EXPECT_EQ(again.size(), 1000u);
    for (void* block : again) block_pool::give(block, 100);
  }).join();
}

}  // namespace
}  // namespace wick
