#include "core/allocate.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "core/block_cache.h"
#include "support/error_text.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

TEST(block_cache, gives_a_returned_block_to_the_next_of_its_size) {
  BlockCache cache(mebibyte);
  void* const block = cache.take(1000);
  cache.give(block, 1000);
  EXPECT_EQ(cache.kept_bytes(), 1024u);
  EXPECT_EQ(cache.take(1024), block);
  EXPECT_EQ(cache.kept_bytes(), 0u);
  cache.give(block, 1024);
  cache.release();
  EXPECT_EQ(cache.kept_bytes(), 0u);
}

TEST(block_cache, blocks_are_aligned_and_hold_what_was_asked_for) {
  BlockCache cache(0);
  for (std::size_t bytes = 0; bytes < 5 * mebibyte; bytes = bytes * 5 / 4 + 61) {
    SCOPED_TRACE(bytes);
    auto* const block = static_cast<std::byte*>(cache.take(bytes));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u);
    std::memset(block, 0xA5, bytes);
    cache.give(block, bytes);
    EXPECT_EQ(cache.kept_bytes(), 0u);
  }
}

TEST(block_cache, returns_the_oldest_blocks_beyond_its_bound) {
  BlockCache cache(3 * 1024);
  std::vector<void*> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(cache.take(1024));
  void* const late = cache.take(512);
  for (void* block : blocks) cache.give(block, 1024);
  EXPECT_EQ(cache.kept_bytes(), 3 * 1024u);
  cache.give(late, 512);
  EXPECT_EQ(cache.kept_bytes(), 2 * 1024u + 512u);
  EXPECT_EQ(cache.take(1024), blocks[2]);
  EXPECT_EQ(cache.take(1024), blocks[1]);
  EXPECT_EQ(cache.take(512), late);
  EXPECT_EQ(cache.kept_bytes(), 0u);
  cache.give(blocks[1], 1024);
  cache.give(blocks[2], 1024);
  cache.give(late, 512);
  cache.release();
}

TEST(block_cache, never_keeps_a_block_larger_than_its_bound) {
  BlockCache cache(mebibyte);
  cache.give(cache.take(4 * mebibyte), 4 * mebibyte);
  EXPECT_EQ(cache.kept_bytes(), 0u);
}

TEST(block_cache, threads_never_share_a_block) {
  BlockCache cache(mebibyte);
  const auto work = [&cache](unsigned char mark) {
    for (int i = 0; i < 2000; ++i) {
      const std::size_t bytes = static_cast<std::size_t>(1 + i % 7) * 300;
      auto* const block = static_cast<unsigned char*>(cache.take(bytes));
      std::memset(block, mark, bytes);
      ASSERT_EQ(block[0], mark);
      ASSERT_EQ(block[bytes - 1], mark);
      cache.give(block, bytes);
    }
  };
  std::thread other(work, static_cast<unsigned char>(1));
  work(2);
  other.join();
  cache.release();
}

TEST(allocate_host, counts_what_is_held_and_not_what_is_kept) {
  const std::uint64_t before = held_bytes();
  reset_peak_held_bytes();
  auto block = allocate_host(1000);
  EXPECT_EQ(held_bytes(), before + 1000);
  block.reset();
  EXPECT_EQ(held_bytes(), before);
  EXPECT_EQ(peak_held_bytes(), before + 1000);
  release_kept_bytes();
  EXPECT_EQ(kept_bytes(), 0u);
}

TEST(allocate_host, refuses_what_no_system_has) {
  for (const std::size_t bytes : {~std::size_t{0}, ~std::size_t{0} / 2, ~std::size_t{0} / 5})
    EXPECT_NE(testing::error_text<MemoryError>([&] { allocate_host(bytes); }).find("cannot allocate"),
              std::string::npos);
}

}  // namespace
}  // namespace wick
