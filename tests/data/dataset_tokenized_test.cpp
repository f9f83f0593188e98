// Pre-tokenised safetensors files, put together byte by byte in the harness.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "data/data_harness.h"
#include "wick/error.h"

namespace wick {
namespace {

using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Tokenized : public ::testing::Test {
 protected:
  Dataset load(const std::vector<IntegerTensor>& tensors, std::int64_t vocabulary = 100) {
    return Dataset::load(directory_.write("t.safetensors", safetensors_bytes(tensors)), {},
                         {.vocab_size = vocabulary});
  }
  std::string error_of(const std::vector<IntegerTensor>& tensors) {
    try {
      load(tensors);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no DataError";
  }

  TemporaryDirectory directory_;
};

TEST_F(Tokenized, LabelsDefaultToTheIds) {
  const Dataset data = load({{"input_ids", {2, 3}, {1, 2, 3, 4, 5, 6}, "I32"}});
  ASSERT_EQ(data.size(), 2);
  EXPECT_THAT(ids_of(data.row(1)), ElementsAre(4, 5, 6));
  EXPECT_THAT(labels_of(data.row(1)), ElementsAre(4, 5, 6));
  EXPECT_FALSE(data.grid());
  EXPECT_FALSE(data.row(0).may_split);
}

TEST_F(Tokenized, PaddingOnEitherSideIsRemovedAndEmptyRowsAreCounted) {
  const Dataset data = load({{"input_ids", {3, 3}, {1, 2, 0, 0, 3, 4, 0, 0, 0}},
                             {"attention_mask", {3, 3}, {1, 1, 0, 0, 1, 1, 0, 0, 0}},
                             {"labels", {3, 3}, {-100, 7, -100, -100, 8, -100, -100, -100, -100}}});
  ASSERT_EQ(data.size(), 2);
  EXPECT_THAT(ids_of(data.row(0)), ElementsAre(1, 2));
  EXPECT_THAT(labels_of(data.row(0)), ElementsAre(-100, 7));
  EXPECT_THAT(ids_of(data.row(1)), ElementsAre(3, 4));
  EXPECT_THAT(labels_of(data.row(1)), ElementsAre(8, -100));
  EXPECT_EQ(data.skipped_rows(), 1);
}

TEST_F(Tokenized, AGridKeepsEveryRow) {
  const Dataset data =
      load({{"input_ids", {2, 1, 2}, {1, 2, 3, 4}}, {"attention_mask", {2, 1, 2}, {1, 1, 0, 0}}});
  ASSERT_TRUE(data.grid());
  EXPECT_EQ(data.grid()->steps, 2);
  EXPECT_EQ(data.grid()->batch, 1);
  EXPECT_EQ(data.grid()->length, 2);
  EXPECT_EQ(data.size(), 2);
  EXPECT_TRUE(data.row(1).ids.empty());
}

TEST_F(Tokenized, FaultsNameTensorRowAndColumn) {
  EXPECT_THAT(error_of({{"ids", {1, 1}, {1}}}), HasSubstr("t.safetensors: has no tensor input_ids"));
  EXPECT_THAT(error_of({{"input_ids", {2}, {1, 2}}}),
              HasSubstr("input_ids must be [rows, length] or [steps, batch, length], not [2]"));
  EXPECT_THAT(error_of({{"input_ids", {1, 2}, {1, 2}, "F64"}}),
              HasSubstr("input_ids must be i64 or i32, not"));
  EXPECT_THAT(error_of({{"input_ids", {0, 4}, {}}}), HasSubstr("t.safetensors: has no rows to learn from"));
  EXPECT_THAT(error_of({{"input_ids", {1, 2}, {1, 2}}, {"labels", {2, 1}, {1, 2}}}),
              HasSubstr("labels has shape [2, 1], but input_ids has [1, 2]"));
  EXPECT_THAT(error_of({{"input_ids", {2, 2}, {1, 2, 3, 100}}}),
              HasSubstr("input_ids is 100 in row 1, column 1 (counted from 0), but must be from 0 to 99"));
  EXPECT_THAT(error_of({{"input_ids", {1, 2}, {1, -1}}}), HasSubstr("input_ids is -1 in row 0, column 1"));
  EXPECT_THAT(error_of({{"input_ids", {1, 2}, {1, std::int64_t{1} << 32}}}),
              HasSubstr("input_ids is 4294967296 in row 0, column 1"));
  EXPECT_THAT(
      error_of({{"input_ids", {1, 2}, {1, 2}}, {"labels", {1, 2}, {-1, 2}}}),
      HasSubstr("labels is -1 in row 0, column 0 (counted from 0), but must be -100 or from 0 to 99"));
  EXPECT_THAT(error_of({{"input_ids", {1, 2}, {1, 2}}, {"attention_mask", {1, 2}, {1, 2}}}),
              HasSubstr("attention_mask is 2 in row 0, column 1 (counted from 0), but must be 0 or 1"));
  const std::string sides =
      "padding must be on the right or on the left of a row, not on both sides or between tokens";
  EXPECT_THAT(error_of({{"input_ids", {1, 3}, {1, 2, 3}}, {"attention_mask", {1, 3}, {1, 0, 1}}}),
              HasSubstr("attention_mask is 1 in row 0, column 2 (counted from 0), but " + sides));
  EXPECT_THAT(error_of({{"input_ids", {1, 3}, {1, 2, 3}}, {"attention_mask", {1, 3}, {0, 1, 0}}}),
              HasSubstr(sides));
  EXPECT_THAT(
      error_of(
          {{"input_ids", {1, 2}, {1, 2}}, {"attention_mask", {1, 2}, {1, 0}}, {"labels", {1, 2}, {1, 2}}}),
      HasSubstr("labels is 2 in row 0, column 1 (counted from 0), but must be -100, because attention_mask "
                "is 0 there"));
}

TEST_F(Tokenized, WithoutAVocabularyIdsOf32BitsPass) {
  EXPECT_THAT(ids_of(load({{"input_ids", {1, 1}, {2147483647}}}, 0).row(0)), ElementsAre(2147483647));
}

// What the batches are must be what the reference's file says: every id, label and mask, in order, twice
// around.
TEST(TokenizedReference, GridsAreTakenAsTheyStand) {
  const char* configured = std::getenv("WICK_REFERENCE_DIR");
  const std::filesystem::path reference = configured ? configured : WICK_SOURCE_DIR "/../shared/reference";
  const auto file = reference / "golden/lora_tiny-qwen2_all_r4/batches.safetensors";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "the reference data are not at " << reference;

  const std::string content = read_text(file);
  // The header of this file gives attention_mask, input_ids, labels, in this order, as I64 [20, 4, 48].
  std::uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  const std::size_t count = 20 * 4 * 48;
  ASSERT_EQ(content.size(), 8 + header + 3 * count * 8);
  std::vector<std::int64_t> values(3 * count);
  std::memcpy(values.data(), content.data() + 8 + header, values.size() * 8);

  Batches batches(Dataset::load(file, {}, {.vocab_size = 512}),
                  {.batch_size = 7, .seq_len = 9, .shuffle = false});
  EXPECT_EQ(batches.batches_per_epoch(), 20);
  for (std::size_t step = 0; step < 40; ++step) {
    const Batch batch = batches.next();
    ASSERT_EQ(batch.rows, 4);
    ASSERT_EQ(batch.length, 48);
    std::int64_t targets = 0;
    for (std::size_t i = 0; i < 4 * 48; ++i) {
      const std::size_t at = step % 20 * 4 * 48 + i;
      EXPECT_EQ(batch.segments[i], values[at]);
      EXPECT_EQ(batch.labels[i], values[2 * count + at]);
      if (values[at] == 1) {
        EXPECT_EQ(batch.input_ids[i], values[count + at]);
        EXPECT_EQ(batch.positions[i], static_cast<std::int32_t>(i % 48));
      }
      targets += i % 48 != 0 && values[2 * count + at] != -100;
    }
    EXPECT_EQ(batch.target_tokens, targets);
  }
}

}  // namespace
}  // namespace wick
