// Ids and texts equal to those of the `tokenizers` library: for the tokenizers in data/, which
// tools/make_tokenizer_goldens.py made, and for the reference models where they are at hand.

#include "golden/reference.h"
#include "tokenizer/tokenizer_test_util.h"

namespace wick::test {
namespace {

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, TextsGiveTheLibrarysIds) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / (GetParam() + ".json"));
  const auto cases = read_json(data_dir() / (GetParam() + "_cases.json"));
  ASSERT_GE(cases["texts"].size(), 20u);
  for (const auto& c : cases["texts"]) {
    const auto text = c["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), c["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false}), c["ids_plain"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.encode(text, {.parse_special = true}), c["ids_parsed"].get<Ids>()) << text;
  }
}

TEST_P(Golden, IdsGiveTheLibrarysText) {
  const auto tokenizer = Tokenizer::from_file(data_dir() / (GetParam() + ".json"));
  const auto cases = read_json(data_dir() / (GetParam() + "_cases.json"));
  for (const auto& c : cases["texts"]) {
    const auto ids = c["ids_parsed"].get<Ids>();
    EXPECT_EQ(tokenizer.decode(ids), c["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, false), c["decoded_with_special"].get<std::string>());
    EXPECT_EQ(stream(tokenizer, ids, false), c["decoded_with_special"].get<std::string>());
  }
  for (const auto& c : cases["ids"]) {
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(tokenizer.decode(ids), c["decoded"].get<std::string>());
    EXPECT_EQ(stream(tokenizer, ids), c["decoded"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Golden,
                         testing::Values("llama3", "qwen2", "gpt2", "llama2", "mistral", "metaspace"),
                         [](const auto& param_info) { return param_info.param; });

TEST(Reference, Stories260kTexts) {
  WICK_NEEDS_REFERENCE();
  const auto tokenizer = Tokenizer::from_directory(reference_directory() / "models/stories260k");
  EXPECT_EQ(tokenizer.vocab_size(), 512);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_EQ(tokenizer.eos_ids(), Ids{2});
  // One of these texts spells <s> and </s>, and its ids are those of the special tokens.
  for (const auto& c : read_json(reference_directory() / "golden/tokenizer/stories260k.json")) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(tokenizer.encode(text, {.parse_special = true}), ids) << text;
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false, .parse_special = true}),
              c["ids_no_special"].get<Ids>());
    EXPECT_EQ(tokenizer.decode(ids), c["decoded"].get<std::string>()) << text;
    EXPECT_EQ(stream(tokenizer, ids), c["decoded"].get<std::string>()) << text;
    if (text.find("<s>") == std::string::npos) {
      EXPECT_EQ(tokenizer.encode(text), ids) << text;
    }
  }
}

TEST(Reference, GreedyTexts) {
  WICK_NEEDS_REFERENCE();
  for (const std::string model : {"stories260k", "tiny-qwen2", "tiny-llama3", "tiny-mistral"}) {
    const auto tokenizer = Tokenizer::from_directory(reference_directory() / "models" / model);
    const auto greedy = read_json(reference_directory() / "golden" / model / (model + "_greedy.json"));
    ASSERT_FALSE(greedy.empty());
    for (const auto& c : greedy) {
      auto ids = c["prompt_ids"].get<Ids>();
      EXPECT_EQ(tokenizer.encode(c["prompt"].get<std::string>()), ids) << model;
      const auto generated = c["greedy_ids"].get<Ids>();
      ids.insert(ids.end(), generated.begin(), generated.end());
      EXPECT_EQ(tokenizer.decode(ids), c["text"].get<std::string>()) << model;
      EXPECT_EQ(stream(tokenizer, ids), c["text"].get<std::string>()) << model;
    }
  }
}

}  // namespace
}  // namespace wick::test
