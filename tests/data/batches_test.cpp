// Batches against what they must preserve: every row once an epoch, nothing between documents, the same order
// always.
#include "train/batches.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "core/counter_random.h"
#include "data/data_harness.h"
#include "wick/error.h"

namespace wick {
namespace {

using namespace test;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

using Ids = std::vector<std::int32_t>;

/// Rows "<number>:xxx..." with a completion of the given length, so that a row tells who it is.
Dataset numbered_rows(const std::vector<std::size_t>& lengths) {
  std::string content;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    content += fmt::format("{{\"prompt\":\"{}:\",\"completion\":\"{}\"}}\n", i, std::string(lengths[i], 'x'));
  return Dataset::parse_jsonl(content, "rows.jsonl", byte_encoder());
}

Dataset one_text(std::size_t length) {
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + i % 26);
  return Dataset::parse_jsonl("{\"text\":\"" + text + "\"}", "text.jsonl", byte_encoder());
}

/// The documents in a batch, found by walking its segments; checks the batch's own consistency on the way.
std::vector<std::pair<Ids, Ids>> documents_in(const Batch& batch) {
  std::vector<std::pair<Ids, Ids>> documents;
  const auto length = static_cast<std::size_t>(batch.length);
  EXPECT_EQ(batch.input_ids.size(), static_cast<std::size_t>(batch.rows) * length);
  EXPECT_EQ(batch.positions.size(), batch.input_ids.size());
  EXPECT_EQ(batch.segments.size(), batch.input_ids.size());
  EXPECT_EQ(batch.labels.size(), batch.input_ids.size());
  for (std::size_t row = 0; row < static_cast<std::size_t>(batch.rows); ++row) {
    std::int32_t segment = 0;
    for (std::size_t i = row * length; i < (row + 1) * length; ++i) {
      if (batch.segments[i] == 0) {
        EXPECT_EQ(batch.labels[i], -100);
        EXPECT_TRUE(i + 1 == (row + 1) * length || batch.segments[i + 1] == 0) << "padding is on the right";
        continue;
      }
      if (batch.segments[i] != segment) {
        EXPECT_EQ(batch.segments[i], segment + 1);
        segment = batch.segments[i];
        documents.emplace_back();
      }
      EXPECT_EQ(batch.positions[i], static_cast<std::int32_t>(documents.back().first.size()));
      documents.back().first.push_back(batch.input_ids[i]);
      documents.back().second.push_back(batch.labels[i]);
    }
  }
  return documents;
}

std::vector<std::pair<Ids, Ids>> epoch_of(Batches& batches) {
  std::vector<std::pair<Ids, Ids>> documents;
  for (std::int64_t i = 0; i < batches.batches_per_epoch(); ++i)
    for (auto& document : documents_in(batches.next())) documents.push_back(std::move(document));
  return documents;
}

std::vector<std::pair<Ids, Ids>> rows_of(const Dataset& data) {
  std::vector<std::pair<Ids, Ids>> rows;
  for (std::size_t i = 0; i < data.size(); ++i)
    rows.emplace_back(ids_of(data.row(i)), labels_of(data.row(i)));
  return rows;
}

std::vector<std::size_t> random_lengths(std::size_t count, std::size_t most) {
  std::mt19937 generator(7);
  std::vector<std::size_t> lengths(count);
  for (std::size_t& length : lengths) length = 1 + generator() % most;
  return lengths;
}

bool same(const Batch& a, const Batch& b) {
  return a.rows == b.rows && a.length == b.length && a.input_ids == b.input_ids &&
         a.positions == b.positions && a.segments == b.segments && a.labels == b.labels &&
         a.target_tokens == b.target_tokens;
}

// Words of an implementation in another language, straight from the paper's constants.
TEST(CounterRandom, WordsAreTheSameEverywhere) {
  EXPECT_EQ(CounterRandom(0, 0).word(0), 0x268598dd193a9389u);
  EXPECT_EQ(CounterRandom(0, 0).word(1), 0xe251e922af47467au);
  EXPECT_EQ(CounterRandom(42, 3).word(1000), 0x738645cfa1e74726u);
}

TEST(Batches, InOrderWithoutShuffle) {
  Batches batches(numbered_rows({3, 1, 2}), {.batch_size = 2, .seq_len = 64, .shuffle = false});
  ASSERT_EQ(batches.batches_per_epoch(), 2);
  const Batch first = batches.next();
  EXPECT_EQ(first.rows, 2);
  EXPECT_EQ(first.length, 32) << "rounded up, so that few shapes occur";
  EXPECT_THAT(documents_in(first),
              ElementsAre(std::pair(Ids{'0', ':', 'x', 'x', 'x', eos}, Ids{-100, -100, 'x', 'x', 'x', eos}),
                          std::pair(Ids{'1', ':', 'x', eos}, Ids{-100, -100, 'x', eos})));
  EXPECT_EQ(first.target_tokens, 4 + 2);
  EXPECT_EQ(batches.next().rows, 1);
  EXPECT_EQ(batches.position(), (BatchPosition{0, 0, 2}));
  EXPECT_TRUE(same(batches.next(), first)) << "epochs wrap around";
  EXPECT_EQ(batches.position(), (BatchPosition{0, 1, 1}));
}

TEST(Batches, ShiftedLabelsAreTheNextTokensOfTheSameDocument) {
  Batch batch;
  batch.rows = 2;
  batch.length = 4;
  batch.labels = {5, 6, 7, 8, 1, 2, -100, -100};
  batch.segments = {1, 1, 2, 2, 1, 1, 1, 0};
  EXPECT_THAT(shifted_labels(batch), ElementsAre(6, -100, 8, -100, 2, -100, -100, -100));
}

TEST(Batches, ShuffledEveryRowComesOnceAnEpochInANewOrder) {
  const Dataset data = numbered_rows(random_lengths(301, 90));
  Batches batches(data, {.batch_size = 4, .seq_len = 128, .seed = 5});
  EXPECT_EQ(batches.batches_per_epoch(), 76);
  const auto first = epoch_of(batches);
  const auto second = epoch_of(batches);
  EXPECT_THAT(first, ::testing::UnorderedElementsAreArray(rows_of(data)));
  EXPECT_THAT(second, ::testing::UnorderedElementsAreArray(first));
  EXPECT_NE(first, second);

  Batches again(data, {.batch_size = 4, .seq_len = 128, .seed = 5});
  EXPECT_EQ(epoch_of(again), first);
  Batches other(data, {.batch_size = 4, .seq_len = 128, .seed = 6});
  EXPECT_NE(epoch_of(other), first);
}

TEST(Batches, RowsOfSimilarLengthShareABatch) {
  const Dataset data = numbered_rows(random_lengths(2000, 500));
  Batches batches(data, {.batch_size = 8, .seq_len = 512, .seed = 1});
  std::int64_t places = 0;
  std::set<std::int64_t> lengths;
  std::vector<std::int64_t> in_order;
  for (std::int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const Batch batch = batches.next();
    places += batch.rows * batch.length;
    lengths.insert(batch.length);
    in_order.push_back(batch.length);
    EXPECT_EQ(batch.length % 32, 0);
    EXPECT_LE(batch.length, 512);
  }
  EXPECT_LE(lengths.size(), 12u);
  // Random rows would be padded to near 450 of at most 512 places each; sorted ones waste half of a step
  // between lengths.
  EXPECT_LT(static_cast<double>(places), 1.15 * static_cast<double>(data.tokens()));
  EXPECT_FALSE(std::is_sorted(in_order.begin(), in_order.end())) << "short and long batches are mixed";
}

TEST(Batches, ALongTextIsCutSoThatEveryTokenButTheFirstIsATargetOnce) {
  for (std::size_t length : {1u, 8u, 9u, 15u, 16u, 17u, 100u}) {
    const Dataset data = one_text(length);
    Batches batches(data, {.batch_size = 3, .seq_len = 9, .shuffle = false});
    Ids targets;
    for (std::int64_t i = 0; i < batches.batches_per_epoch(); ++i)
      for (std::int32_t label : shifted_labels(batches.next()))
        if (label != -100) targets.push_back(label);
    const Ids all = ids_of(data.row(0));
    EXPECT_EQ(targets, Ids(all.begin() + 1, all.end())) << length;
    EXPECT_EQ(batches.counts().split_rows, length + 1 > 9 ? 1 : 0);
    EXPECT_EQ(batches.counts().truncated_rows, 0);
  }
}

TEST(Batches, LongCompletionsAreTruncatedAndRowsWithoutTargetsSkipped) {
  const Dataset data = Dataset::parse_jsonl(
      "{\"prompt\":\"ab\",\"completion\":\"cdefgh\"}\n{\"prompt\":\"abcdefgh\",\"completion\":\"i\"}\n"
      "{\"prompt\":\"a\",\"completion\":\"b\"}\n",
      "x", byte_encoder());
  Batches batches(data, {.batch_size = 8, .seq_len = 5, .shuffle = false});
  EXPECT_THAT(documents_in(batches.next()),
              ElementsAre(std::pair(Ids{'a', 'b', 'c', 'd', 'e'}, Ids{-100, -100, 'c', 'd', 'e'}),
                          std::pair(Ids{'a', 'b', eos}, Ids{-100, 'b', eos})));
  EXPECT_EQ(batches.counts().truncated_rows, 1);
  EXPECT_EQ(batches.counts().lost_tokens, 4);
  EXPECT_EQ(batches.counts().skipped_rows, 1);
  EXPECT_EQ(batches.counts().split_rows, 0);
}

TEST(Batches, PackedRowsHoldWholeDocumentsWithPositionsOfTheirOwn) {
  const Dataset data = numbered_rows(random_lengths(300, 40));
  Batches batches(data, {.batch_size = 4, .seq_len = 96, .seed = 3, .packing = true});
  const auto documents = epoch_of(batches);
  EXPECT_THAT(documents, ::testing::UnorderedElementsAreArray(rows_of(data)));
  EXPECT_NE(epoch_of(batches), documents);
  // Best fit of the longest first leaves little room: at most a twentieth here.
  const auto tokens = static_cast<double>(data.tokens());
  EXPECT_LT(static_cast<double>(batches.batches_per_epoch() - 1) * 4 * 96, tokens * 1.05);
  std::int64_t targets = 0;
  for (const auto& [ids, labels] : documents)
    targets +=
        std::count_if(labels.begin() + 1, labels.end(), [](std::int32_t label) { return label != -100; });
  std::int64_t counted = 0;
  for (std::int64_t i = 0; i < batches.batches_per_epoch(); ++i) counted += batches.next().target_tokens;
  EXPECT_EQ(counted, targets);
}

TEST(Batches, PackingWithoutShuffleKeepsTheOrderWhereItFits) {
  Batches batches(numbered_rows({4, 4, 5, 1}),
                  {.batch_size = 2, .seq_len = 16, .shuffle = false, .packing = true});
  const Batch batch = batches.next();
  EXPECT_EQ(batch.rows, 2);
  // Lengths with number, colon and end: 7, 7, 8, 4. The first two fill 14 of 16; the others follow.
  EXPECT_THAT(std::vector<std::int32_t>(batch.segments.begin(), batch.segments.begin() + 16),
              ElementsAre(1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0, 0));
  EXPECT_THAT(std::vector<std::int32_t>(batch.segments.begin() + 16, batch.segments.end()),
              ElementsAre(1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0));
}

TEST(Batches, SeekContinuesBitForBit) {
  const Dataset data = numbered_rows(random_lengths(53, 60));
  for (bool packing : {false, true}) {
    const BatchOptions options{.batch_size = 4, .seq_len = 64, .seed = 9, .packing = packing};
    Batches whole(data, options);
    for (int taken = 0; taken < 40; ++taken) {
      Batches resumed(data, options);
      resumed.seek(whole.position());
      const Batch expected = whole.next();
      ASSERT_TRUE(same(resumed.next(), expected)) << taken;
      ASSERT_EQ(resumed.position(), whole.position());
    }
  }
}

TEST(Batches, AGridThatIsShuffledIsRows) {
  const TemporaryDirectory directory;
  const auto file = directory.write("g.safetensors",
                                    safetensors_bytes({{"input_ids", {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}}}));
  const Dataset data = Dataset::load(file, {});
  Batches batches(data, {.batch_size = 3, .seq_len = 8});
  EXPECT_THAT(epoch_of(batches), ::testing::UnorderedElementsAreArray(rows_of(data)));
  EXPECT_THROW(
      {
        try {
          Batches(data, {.shuffle = false, .packing = true});
        } catch (const ArgumentError& error) {
          EXPECT_THAT(error.what(),
                      HasSubstr("g.safetensors: --no-shuffle takes its batches as they stand; they "
                                "cannot be packed"));
          throw;
        }
      },
      ArgumentError);
}

std::string argument_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Batches, OptionsOutsideTheirDomainAreNamed) {
  const Dataset data = one_text(5);
  EXPECT_EQ(argument_error([&] { Batches(data, {.batch_size = 0}); }),
            "--batch-size must be at least 1, not 0");
  EXPECT_EQ(argument_error([&] { Batches(data, {.seq_len = 1}); }), "--seq-len must be at least 2, not 1");
  EXPECT_EQ(argument_error([&] { Batches(numbered_rows({3}), {.seq_len = 2}); }),
            "rows.jsonl: no row has a token to learn within --seq-len 2");
  Batches batches(data, {});
  EXPECT_EQ(argument_error([&] {
              batches.seek({0, 0, 2});
            }),
            "these data have no batch 2 in epoch 0; an epoch has 1");
  EXPECT_EQ(argument_error([&] {
              batches.seek({0, -1, 0});
            }),
            "these data have no batch 0 in epoch -1; an epoch has 1");
}

TEST(Split, TheSameRowsEveryTimeInTheOrderOfTheFile) {
  const Dataset data = numbered_rows(random_lengths(50, 5));
  const auto [train, valid] = data.split(0.1, 3);
  EXPECT_EQ(train.size(), 45u);
  EXPECT_EQ(valid.size(), 5u);
  auto together = rows_of(train);
  for (auto& row : rows_of(valid)) together.push_back(row);
  EXPECT_THAT(together, ::testing::UnorderedElementsAreArray(rows_of(data)));
  const auto whole = rows_of(data);
  for (const Dataset& part : {train, valid}) {
    std::size_t at = 0;
    for (const auto& row : rows_of(part)) {
      while (at < whole.size() && whole[at] != row) ++at;
      EXPECT_LT(at, whole.size()) << "out of order";
    }
  }
  EXPECT_EQ(rows_of(data.split(0.1, 3).second), rows_of(valid));
  EXPECT_NE(rows_of(data.split(0.1, 4).second), rows_of(valid));
  EXPECT_EQ(data.split(0.001, 0).second.size(), 1u);
  EXPECT_EQ(data.split(0.999, 0).first.size(), 1u);
}

TEST(Split, BadSharesAndSingleRowsAreRefused) {
  const Dataset data = numbered_rows({1, 1});
  for (double bad : {0.0, 1.0, -0.5, std::nan("")})
    EXPECT_THAT(argument_error([&] { (void)data.split(bad, 0); }),
                HasSubstr("the share of rows for validation must be between 0 and 1, not"));
  EXPECT_EQ(argument_error([] { (void)one_text(9).split(0.5, 0); }),
            "text.jsonl: has one row, which cannot be split into training and validation rows; give "
            "validation data "
            "of its own");
}

}  // namespace
}  // namespace wick
