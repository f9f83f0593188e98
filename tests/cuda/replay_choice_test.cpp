#include "backend/cuda/replay_choice.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace wick::cuda {
namespace {

/// Addresses of: the arena, a weight, a small input, a large result, a small result.
using Bases = std::array<std::byte*, 5>;

class ReplayChoiceTest : public ::testing::Test {
 protected:
  Bases at(int input, int result, int large = 0) {
    return {&memory_[0], &memory_[1], &memory_[10 + input], &memory_[200 + large], &memory_[100 + result]};
  }
  ReplayChoice::Choice choose(const Bases& bases) { return *choice_.choose(bases, nobody_); }
  std::vector<std::uint64_t> moved(std::size_t graph) { return choice_.moved(graph).bytes; }

  static constexpr std::size_t many = ReplayChoice::most_graphs;
  const std::vector<std::uint64_t> nothing_ = std::vector<std::uint64_t>(5, 0);
  const std::function<bool(std::size_t)> nobody_ = [](std::size_t) { return false; };
  std::array<std::byte, 300> memory_{};
  ReplayChoice choice_{{0, 0, 40, 0, 8}, 3};
};

TEST_F(ReplayChoiceTest, EachSetOfAddressesHasItsGraphWhileThereAreFew) {
  for (int round = 0; round < 3; ++round)
    for (std::size_t i = 0; i < many; ++i) {
      const auto chosen = choose(at(static_cast<int>(i) % 2, static_cast<int>(i)));
      EXPECT_EQ(chosen.graph, i);
      EXPECT_EQ(chosen.capture, round == 0);
      EXPECT_EQ(moved(chosen.graph), nothing_);
    }
}

TEST_F(ReplayChoiceTest, WhatChangesIsMovedWhenThereAreMany) {
  for (std::size_t i = 0; i < many; ++i) choose(at(0, static_cast<int>(i)));
  const auto chosen = choose(at(0, 50));
  EXPECT_EQ(chosen.graph, 0U);  // unused for longest
  EXPECT_TRUE(chosen.capture);
  EXPECT_EQ(moved(0), (std::vector<std::uint64_t>{0, 0, 0, 0, 8}));
  EXPECT_EQ(choice_.moved(0).first_result, 3U);
  for (int result = 60; result < 80; ++result) {  // one graph for all of them
    EXPECT_EQ(choose(at(0, result)).graph, 0U);
    EXPECT_FALSE(choose(at(0, result)).capture);
  }
  // The input changes too: a graph that moves both.
  const auto both = choose(at(1, 90));
  EXPECT_TRUE(both.capture);
  EXPECT_EQ(moved(both.graph), (std::vector<std::uint64_t>{0, 0, 40, 0, 8}));
  EXPECT_FALSE(choose(at(2, 91)).capture);
  EXPECT_EQ(choose(at(3, 92)).graph, both.graph);
}

TEST_F(ReplayChoiceTest, WhatIsLargeNeedsAGraphOfItsAddress) {
  for (int i = 0; i < static_cast<int>(many) + 5; ++i) {
    const auto chosen = choose(at(0, 0, i));
    EXPECT_TRUE(chosen.capture);
    EXPECT_EQ(moved(chosen.graph), nothing_);
    EXPECT_FALSE(choose(at(0, 0, i)).capture);
  }
}

TEST_F(ReplayChoiceTest, AddressesThatStayGetAGraphWithoutMoves) {
  for (int i = 0; i <= static_cast<int>(many); ++i) choose(at(0, i));  // the last one moves
  const auto moving = choose(at(0, 40)).graph;
  std::size_t direct = moving;
  unsigned int launches = 0;
  for (; direct == moving && launches < 100; ++launches) direct = choose(at(0, 40)).graph;
  EXPECT_EQ(launches, ReplayChoice::alike_enough);
  EXPECT_EQ(moved(direct), nothing_);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(choose(at(0, 40)).graph, direct);
    EXPECT_FALSE(choose(at(0, 40)).capture);
  }
  // Elsewhere the one that moves is still there.
  EXPECT_EQ(choose(at(0, 41)).graph, moving);
  EXPECT_EQ(choose(at(0, 40)).graph, moving);  // the one used last of those that serve
}

TEST_F(ReplayChoiceTest, GraphsThatRunAreNotCapturedAnew) {
  for (std::size_t i = 0; i < many; ++i) choose(at(0, 0, static_cast<int>(i)));
  const auto but_the_third = [](std::size_t graph) { return graph != 3; };
  const auto chosen = choice_.choose(at(0, 0, 50), but_the_third);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->graph, 3U);
  EXPECT_FALSE(choice_.choose(at(0, 0, 51), [](std::size_t) { return true; }));
}

TEST_F(ReplayChoiceTest, ASettledGraphGoesOnMovingWhileAllOthersRun) {
  for (int i = 0; i <= static_cast<int>(many); ++i) choose(at(0, i));
  const auto moving = choose(at(0, 40)).graph;
  for (int i = 0; i < 40; ++i) {
    const auto chosen = choice_.choose(at(0, 40), [](std::size_t) { return true; });
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->graph, moving);
    EXPECT_FALSE(chosen->capture);
  }
}

TEST_F(ReplayChoiceTest, AGraphThatCouldNotBeCapturedServesNobody) {
  const auto chosen = choose(at(0, 0));
  choice_.forget(chosen.graph);
  EXPECT_TRUE(choose(at(0, 0)).capture);
}

}  // namespace
}  // namespace wick::cuda
