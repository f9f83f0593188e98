// Streaming: pieces join to what decode gives, and none holds part of a character.

#include <random>

#include "io/tokenizer/unicode.h"
#include "tokenizer/tokenizer_test_util.h"
#include "wick/error.h"

namespace wick::test {
namespace {

TEST(Stream, PiecesAreValidUtf8AndJoinToDecode) {
  std::mt19937 random(1);
  for (const std::string name : {"llama3", "qwen2", "gpt2", "llama2", "mistral", "metaspace"}) {
    const auto tokenizer = Tokenizer::from_file(data_dir() / (name + ".json"));
    std::uniform_int_distribution<std::int32_t> any_id(0, tokenizer.vocab_size() - 1);
    for (int round = 0; round < 200; ++round) {
      Ids ids(static_cast<std::size_t>(round % 40));
      for (auto& id : ids) id = any_id(random);
      StreamDecoder decoder(tokenizer);
      std::string text;
      const auto take = [&](const std::string& piece) {
        EXPECT_EQ(tokenizer::find_invalid_utf8(piece), std::nullopt) << name;
        text += piece;
      };
      for (const auto id : ids) take(decoder.push(id));
      take(decoder.flush());
      EXPECT_EQ(text, tokenizer.decode(ids)) << name;
    }
  }
}

TEST(Stream, CharacterComesOutWithItsLastByte) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / "llama3.json");
  StreamDecoder decoder(tokenizer);
  // U+1F600 is F0 9F 98 80; in the byte alphabet U+00F0, U+0141, U+013A, U+0122.
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC3\xB0").value()), "");
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC5\x81").value()), "");
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC4\xBA").value()), "");
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC4\xA2").value()), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(Stream, IncompleteCharacterBecomesOneReplacementAtTheEnd) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / "llama3.json");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC3\xB0").value()), "");
  EXPECT_EQ(decoder.push(tokenizer.token_to_id("\xC5\x81").value()), "");
  EXPECT_EQ(decoder.flush(), "\xEF\xBF\xBD");
}

TEST(Stream, ByteFallbackRunComesOutWhenItEnds) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / "llama2.json");
  const auto id = [&](const char* token) { return tokenizer.token_to_id(token).value(); };
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(id("<0xC3>")), "");
  EXPECT_EQ(decoder.push(id("<0xA9>")), "");
  EXPECT_EQ(decoder.push(id("a")),
            "\xC3\xA9"
            "a");
  EXPECT_EQ(decoder.push(id("<0xC3>")), "");
  EXPECT_EQ(decoder.push(id("e")),
            "\xEF\xBF\xBD"
            "e");
  EXPECT_EQ(decoder.push(id("<0x41>")), "");
  EXPECT_EQ(decoder.flush(), "A");
}

TEST(Stream, LeadingSpaceGoesOnceAndAgainAfterFlush) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / "llama2.json");
  const auto space = tokenizer.token_to_id("\xE2\x96\x81").value();
  const auto a = tokenizer.token_to_id("a").value();
  StreamDecoder decoder(tokenizer);
  for (int text = 0; text < 2; ++text) {
    EXPECT_EQ(decoder.push(tokenizer.token_to_id("<s>").value()), "");
    EXPECT_EQ(decoder.push(space), "");
    EXPECT_EQ(decoder.push(space), " ");
    EXPECT_EQ(decoder.push(a), "a");
    EXPECT_EQ(decoder.push(space), " ");
    EXPECT_EQ(decoder.flush(), "");
  }
}

TEST(Stream, WhatNeedsTheWholeTextComesAtTheEnd) {
  auto document = small_document();
  document["decoder"] = {{"type", "Sequence"},
                         {"decoders",
                          {{{"type", "Fuse"}},
                           {{"type", "Replace"}, {"pattern", {{"String", "ba"}}}, {"content", "-"}},
                           {{"type", "Strip"}, {"content", "b"}, {"start", 0}, {"stop", 1}}}}};
  const auto tokenizer = load(document);
  EXPECT_EQ(tokenizer.decode(Ids{2, 2, 2}), "a--");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(2), "");
  EXPECT_EQ(decoder.push(2), "");
  EXPECT_EQ(decoder.flush(), "a-");
}

TEST(Stream, IdsWithoutTokenGiveNothingAndNegativeOnesAreErrors) {
  const auto tokenizer = load(small_document());
  EXPECT_EQ(tokenizer.decode(Ids{0, 6, 1'000'000, 1}), "ab");
  try {
    tokenizer.decode(Ids{0, -100});
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "The token id -100 is negative.");
  }
}

TEST(Stream, OutlivesTheTokenizer) {
  auto tokenizer = std::make_unique<Tokenizer>(load(small_document()));
  StreamDecoder decoder(*tokenizer);
  tokenizer.reset();
  EXPECT_EQ(decoder.push(3), "abab");
}

}  // namespace
}  // namespace wick::test
