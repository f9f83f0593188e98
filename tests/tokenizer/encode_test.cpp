// What encode promises beyond equality with the library: hostile texts, special tokens, threads.

#include <thread>

#include "tokenizer/tokenizer_test_util.h"
#include "wick/error.h"

namespace wick::test {
namespace {

std::string argument_error(const Tokenizer& tokenizer, std::string_view text) {
  try {
    tokenizer.encode(text);
  } catch (const ArgumentError& e) {
    return e.what();
  }
  ADD_FAILURE() << "no ArgumentError";
  return "";
}

TEST(Encode, MergesInOrderOfRankThenPosition) {
  const auto tokenizer = load(small_document());
  EXPECT_EQ(tokenizer.encode("ababab"), (Ids{3, 2}));
  EXPECT_EQ(tokenizer.encode("ba ab"), (Ids{1, 0, 4, 2}));
}

TEST(Encode, RefusesInvalidUtf8ByOffset) {
  const auto tokenizer = load(small_document());
  EXPECT_EQ(argument_error(tokenizer, "ab\xFF"), "The text to tokenize is not valid UTF-8 at byte 2 (0xFF).");
  EXPECT_EQ(argument_error(tokenizer, "\xE4\xBB"),
            "The text to tokenize is not valid UTF-8 at byte 0 (0xE4).");
  EXPECT_EQ(argument_error(tokenizer, "a\xED\xA0\x80"),
            "The text to tokenize is not valid UTF-8 at byte 1 (0xED).");
}

TEST(Encode, NulIsACharacter) {
  const std::string text("a\0b", 3);
  for (const std::string name : {"llama3", "llama2"}) {
    const auto tokenizer = Tokenizer::from_file(data_dir() / (name + ".json"));
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << name;
  }
}

TEST(Encode, MegabyteOfOneCharacterRoundTrips) {
  for (const std::string name : {"llama3", "qwen2", "llama2", "mistral"}) {
    const auto tokenizer = Tokenizer::from_file(data_dir() / (name + ".json"));
    for (const char c : {'a', ' ', '\0'}) {
      const std::string text = "x" + std::string(1'000'000, c);
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << name << " with character " << int{c};
    }
  }
}

TEST(Encode, MergesOfAllLengthsOverAMegabyte) {
  // Doubling merges: the text of 2^20 a's becomes tokens of 2^10.
  auto document = small_document();
  nlohmann::json vocab = {{"a", 0}};
  nlohmann::json merges = nlohmann::json::array();
  std::string token = "a";
  for (int i = 1; i <= 10; ++i) {
    merges.push_back({token, token});
    token += token;
    vocab[token] = i;
  }
  document["model"]["vocab"] = vocab;
  document["model"]["merges"] = merges;
  document["added_tokens"] = nlohmann::json::array();
  const auto ids = load(document).encode(std::string(std::size_t{1} << 20, 'a'));
  EXPECT_EQ(ids, Ids(1024, 10));
}

TEST(Encode, SpelledSpecialTokensAreTextUnlessAskedFor) {
  // Here merges, or ignore_merges, would give the id of the special token to text that spells it.
  auto document = small_document();
  document["model"]["vocab"] = {{"<", 0}, {"s", 1}, {">", 2}, {"<s", 3}, {"<s>", 5}};
  document["model"]["merges"] = {"< s", "<s >"};
  for (const bool ignore_merges : {false, true}) {
    document["model"]["ignore_merges"] = ignore_merges;
    const auto tokenizer = load(document);
    EXPECT_EQ(tokenizer.encode("<s>"), (Ids{3, 2}));
    EXPECT_EQ(tokenizer.encode("<s>", {.parse_special = true}), Ids{5});
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("<s>")), "<s>");
    EXPECT_EQ(tokenizer.decode(Ids{5}), "");
    EXPECT_EQ(tokenizer.decode(Ids{5}, false), "<s>");
  }
}

TEST(Encode, UnknownCharacters) {
  auto document = small_document();
  EXPECT_EQ(load(document).encode("aXYb"), Ids{2});  // no unk_token: as if they were not there
  document["model"]["unk_token"] = "abab";
  EXPECT_EQ(load(document).encode("aXYb"), (Ids{0, 3, 3, 1}));
  document["model"]["fuse_unk"] = true;
  EXPECT_EQ(load(document).encode("aXYb"), (Ids{0, 3, 1}));
  document["model"]["unk_token"] = "<unk>";
  const auto tokenizer = load(document);
  EXPECT_EQ(tokenizer.encode("ab"), Ids{2});
  try {
    tokenizer.encode("aX");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_STREQ(
        e.what(),
        "tokenizer.json: model.unk_token is '<unk>', which is not in the vocabulary, and the text has a "
        "character that needs it.");
  }
}

TEST(Encode, AddedTokensTakeSpacesAndWholeWordsAsAsked) {
  auto document = small_document();
  auto& token = document["added_tokens"][0];
  token["special"] = false;
  EXPECT_EQ(load(document).encode("a <s> b"), (Ids{0, 4, 5, 4, 1}));
  token["lstrip"] = true;
  EXPECT_EQ(load(document).encode("a <s> b"), (Ids{0, 5, 4, 1}));
  token["rstrip"] = true;
  EXPECT_EQ(load(document).encode("a <s> b"), (Ids{0, 5, 1}));
  token["single_word"] = true;
  EXPECT_EQ(load(document).encode("a<s>b"), Ids{2});  // text, whose other characters are unknown
}

TEST(Encode, CatastrophicRegexesAreRefusedNotRun) {
  struct Case {
    std::string regex;
    std::string text;
  };
  const std::vector<Case> cases{
      {"(a+)+$", std::string(40, 'a') + "b"},         {"(a|a)*[cd]", std::string(40, 'a') + "b"},
      {"(a|a){30}[cd]", std::string(60, 'a') + "b"},  {"a*a*a*a*[cd]", std::string(5000, 'a') + "b"},
      {"(?<=a)a*[cd]", std::string(1'000'000, 'a')},   // quadratic over the starting points
      {"(?<=a)a*+[cd]", std::string(1'000'000, 'a')},  // without backtracking
      {"(?:aa)*[cd]", std::string(1'000'000, 'a')},    // beyond the just-in-time compiler's stack
      {"a*(?=a*b)[cd]", std::string(1'000'000, 'a')},  // in a lookahead
  };
  for (const Case& c : cases) {
    auto document = small_document();
    document["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", c.regex}}}, {"behavior", "Isolated"}, {"invert", false}};
    const auto tokenizer = load(document);
    try {
      tokenizer.encode(c.text);
      ADD_FAILURE() << c.regex;
    } catch (const ConfigError& e) {
      EXPECT_EQ(e.what(), "tokenizer.json: pre_tokenizer.pattern.Regex holds the regular expression '" +
                              c.regex + "', which takes more steps than are allowed on a text of " +
                              std::to_string(c.text.size()) + " bytes.");
    }
  }
}

TEST(Encode, ThreadsGiveTheSameIds) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / "llama3.json");
  const auto cases = read_json(data_dir() / "llama3_cases.json")["texts"];
  std::vector<std::thread> threads;
  std::vector<int> differences(8);
  for (int& count : differences) {
    threads.emplace_back([&] {
      for (const auto& c : cases) {
        const auto ids = tokenizer.encode(c["text"].get<std::string>());
        count += ids != c["ids"].get<Ids>();
        count += tokenizer.decode(ids) != stream(tokenizer, ids);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(differences, std::vector<int>(8));
}

TEST(Vocabulary, LooksUpBothWays) {
  const auto tokenizer = load(small_document());
  EXPECT_EQ(tokenizer.vocab_size(), 6);
  EXPECT_EQ(tokenizer.token_to_id("abab"), 3);
  EXPECT_EQ(tokenizer.token_to_id("<s>"), 5);
  EXPECT_EQ(tokenizer.token_to_id("ba"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(3), "abab");
  EXPECT_EQ(tokenizer.id_to_token(6), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(5));
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(99));
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_TRUE(tokenizer.eos_ids().empty());
}

}  // namespace
}  // namespace wick::test
