#include "wick/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "core/allocate.h"
#include "runtime/arena_pool.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

class MemoryLimit : public testing::Test {
 protected:
  MemoryLimit() { release_idle_arenas(cpu_backend()); }
  ~MemoryLimit() override { set_memory_limit(std::nullopt); }
};

Tensor megabyte(float value) { return Tensor::from(std::vector<float>(1 << 18, value), {1 << 18}); }

TEST_F(MemoryLimit, PlannedMemoryIsKnownWithoutRunning) {
  const Tensor x = megabyte(2);
  const Tensor y = cumsum(sort(x, 0), 0);  // one temporary, one result
  const PlannedMemory planned = plan_memory({y});
  EXPECT_FALSE(y.is_evaluated());
  EXPECT_EQ(planned.result_bytes, x.bytes());
  EXPECT_GE(planned.arena_bytes, x.bytes());
  EXPECT_EQ(planned.peak_bytes(), planned.arena_bytes + planned.result_bytes);
  y.eval();
  EXPECT_EQ(plan_memory({y}).peak_bytes(), 0u);
}

TEST_F(MemoryLimit, WhatDoesNotFitIsRefusedBeforeItRunsWithTheNumbers) {
  const Tensor x = megabyte(3);
  const Tensor y = x + 1;
  const std::uint64_t held = held_bytes();
  set_memory_limit(held + 1000);
  try {
    y.eval();
    FAIL() << "the evaluation was not refused";
  } catch (const MemoryError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr(", results 1048576)"));
    EXPECT_THAT(e.what(), testing::HasSubstr("beyond the limit of " + std::to_string(*memory_limit())));
  }
  EXPECT_FALSE(y.is_evaluated());
  EXPECT_LE(held_bytes(), held);
  EXPECT_THROW(y.eval_async(), MemoryError);

  set_memory_limit(held_bytes() + plan_memory({y}).peak_bytes());
  y.eval();
  EXPECT_EQ(y.to_vector<float>()[7], 4.0f);
}

TEST_F(MemoryLimit, IdleArenasMakeRoom) {
  const Tensor x = megabyte(3);
  cumsum(sort(x, 0), 0).eval();  // leaves an arena behind
  const std::uint64_t with_arena = held_bytes();
  const Tensor y = exp(x);
  set_memory_limit(with_arena);  // the result takes the place of the arena
  y.eval();
  EXPECT_LE(held_bytes(), with_arena);
}

TEST_F(MemoryLimit, ReleasedMemoryIncludesIdleArenas) {
  const Tensor x = megabyte(3);
  sum(cumsum(sort(x, 0), 0)).eval();  // its plan may take the place of one that holds constants
  release_kept_memory();
  const std::uint64_t held = held_bytes();
  sum(cumsum(sort(x, 0), 0)).eval();
  EXPECT_GE(held_bytes(), held + x.bytes());
  release_kept_memory();
  EXPECT_EQ(held_bytes(), held);
  EXPECT_EQ(kept_memory_bytes(), 0u);
}

}  // namespace
}  // namespace wick
