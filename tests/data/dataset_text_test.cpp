// Text files as rows: what is learned, what is skipped, and what every bad line answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <functional>
#include <iterator>

#include "data/data_harness.h"
#include "wick/error.h"
#include "wick/tokenizer.h"

namespace wick {
namespace {

using namespace test;
using Ids = std::vector<std::int32_t>;
using ::testing::EndsWith;
using ::testing::HasSubstr;

Dataset jsonl(std::string_view content, const DatasetOptions& options = {}, bool with_bos = false) {
  return Dataset::parse_jsonl(content, "train.jsonl", byte_encoder(with_bos), options);
}

template <typename E>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  return "no exception";
}

std::string jsonl_error(std::string_view content) {
  return message_of<DataError>([&] { jsonl(content); });
}

TEST(Jsonl, TextIsLearnedWholeWithItsEnd) {
  const Dataset data =
      jsonl("{\"text\": \"ab\"}\n{\"text\": \"\\u00e9\", \"source\": {\"id\": [1, null]}}\n");
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(ids_of(data.row(0)), (std::vector<std::int32_t>{'a', 'b', eos}));
  EXPECT_EQ(labels_of(data.row(0)), ids_of(data.row(0)));
  EXPECT_EQ(ids_of(data.row(1)), (std::vector<std::int32_t>{0xc3, 0xa9, eos}));
  EXPECT_TRUE(data.row(0).may_split);
  EXPECT_EQ(data.tokens(), 6);
}

TEST(Jsonl, OnlyTheCompletionAndItsEndAreLearned) {
  const Dataset data = jsonl(R"({"prompt": "ab", "completion": "cd"})", {}, true);
  EXPECT_EQ(ids_of(data.row(0)), (std::vector<std::int32_t>{bos, 'a', 'b', 'c', 'd', eos}));
  EXPECT_EQ(labels_of(data.row(0)), (std::vector<std::int32_t>{-100, -100, -100, 'c', 'd', eos}));
  EXPECT_FALSE(data.row(0).may_split);
}

TEST(Jsonl, LossOnPromptLearnsAllOfIt) {
  const Dataset data = jsonl(R"({"completion": "cd", "prompt": "ab"})", {.loss_on_prompt = true}, true);
  EXPECT_EQ(labels_of(data.row(0)), ids_of(data.row(0)));
}

TEST(Jsonl, AnEmptyCompletionTeachesTheEnd) {
  const Dataset data = jsonl(R"({"prompt": "ab", "completion": ""})");
  EXPECT_EQ(labels_of(data.row(0)), (std::vector<std::int32_t>{-100, -100, eos}));
}

// The prompt's ids must be those that generation will start from, whatever follows.
TEST(Jsonl, ATokenAcrossTheBorderIsNotUsed) {
  TextEncoder merging = byte_encoder();
  merging.encode = [](std::string_view text) {
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool merge = text.substr(i, 2) == ".\n";
      ids.push_back(merge ? 300 : text[i]);
      i += merge;
    }
    return ids;
  };
  const Dataset data =
      Dataset::parse_jsonl("{\"prompt\": \"a.\", \"completion\": \"\\nb.\\n\"}", "x", merging);
  EXPECT_EQ(ids_of(data.row(0)), (std::vector<std::int32_t>{'a', '.', '\n', 'b', 300, eos}));
  EXPECT_EQ(labels_of(data.row(0)), (std::vector<std::int32_t>{-100, -100, '\n', 'b', 300, eos}));
}

// SentencePiece-style tokenizers put a space before a text; a completion does not begin one.
TEST(Jsonl, TheCompletionGetsNoSpaceThatOnlyABeginningHas) {
  TextEncoder prefixing = byte_encoder();
  prefixing.encode = [](std::string_view text) { return bytes_of(std::string("_").append(text)); };
  const Dataset data = Dataset::parse_jsonl(R"({"prompt": "ab", "completion": "cd"})", "x", prefixing);
  EXPECT_EQ(ids_of(data.row(0)), join(bytes_of("_abcd"), {eos}));
  EXPECT_EQ(labels_of(data.row(0)), join({-100, -100, -100, 'c', 'd'}, {eos}));
}

TEST(Jsonl, ByteOrderMarkCrlfAndBlankLinesAreAccepted) {
  const Dataset data = jsonl("\xEF\xBB\xBF{\"text\":\"a\"}\r\n\r\n  \t\n{\"text\":\"\"}\r\n{\"text\":\"b\"}");
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(ids_of(data.row(1)), (std::vector<std::int32_t>{'b', eos}));
  EXPECT_EQ(data.skipped_rows(), 1);
}

TEST(Jsonl, EveryBadLineIsNamedWithItsNumberAndItsFault) {
  const std::string good = "{\"text\":\"a\"}\n\n";
  struct Case {
    std::string line;
    std::string message;
  };
  const std::vector<Case> cases{
      {R"({"text": "a)",
       "train.jsonl:3: the line ends in the middle of its JSON object; is the file cut off?"},
      {R"({"text": "a")",
       "train.jsonl:3: the line ends in the middle of its JSON object; is the file cut off?"},
      {R"({"text": "a"} x)", "train.jsonl:3: byte 15 of the line is not valid JSON"},
      {R"({'text': "a"})", "train.jsonl:3: byte 2 of the line is not valid JSON"},
      {"{\"text\": \"a\xff\"}", "train.jsonl:3: byte 12 of the line is not valid JSON"},
      {R"({"text": "\ud800"})", "train.jsonl:3: byte 17 of the line is not valid JSON"},
      {R"({"text": 1e999})", "train.jsonl:3: byte 14 of the line is not valid JSON"},
      {R"(["a"])", "train.jsonl:3: must be a JSON object, not an array"},
      {R"("a")", "train.jsonl:3: must be a JSON object, not a string"},
      {R"({"text": 5})", "train.jsonl:3: \"text\" must be a string, not a number"},
      {R"({"text": null})", "train.jsonl:3: \"text\" must be a string, not null"},
      {R"({"text": ["a"]})", "train.jsonl:3: \"text\" must be a string, not an array"},
      {R"({"prompt": {"text": "a"}})", "train.jsonl:3: \"prompt\" must be a string, not an object"},
      {R"({"prompt": "a", "completion": true})",
       "train.jsonl:3: \"completion\" must be a string, not a boolean"},
      {R"({"prompt": "a"})", "train.jsonl:3: has \"prompt\", but no \"completion\""},
      {R"({"completion": "a"})", "train.jsonl:3: has \"completion\", but no \"prompt\""},
      {R"({"text": "a", "prompt": "b"})",
       "train.jsonl:3: has \"text\" and also \"prompt\" or \"completion\""},
      {R"({"text": "a", "text": "b"})", "train.jsonl:3: the key \"text\" occurs twice"},
      {R"({"messages": [], "é": {"text": 1}})",
       "train.jsonl:3: needs the key \"text\", or \"prompt\" and \"completion\"; its keys: \"messages\", "
       "\"\\u00e9\""},
      {"{}", "train.jsonl:3: needs the key \"text\", or \"prompt\" and \"completion\"; its keys: none"},
      {"{\"x\":" + std::string(100000, '['), "train.jsonl:3: is nested deeper than 64 levels"},
  };
  for (const Case& c : cases) EXPECT_EQ(jsonl_error(good + c.line), c.message) << c.line.substr(0, 60);
}

TEST(Jsonl, ALineOf100MegabytesIsRefusedBeforeItIsParsed) {
  std::string content = "{\"text\":\"a\"}\n{\"text\":\"";
  content.append(100'000'000, 'a');
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(jsonl_error(content), "train.jsonl:2: the line is longer than 32 MiB; split the document");
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 16 * 1024) << "KiB more than the content itself";
}

TEST(Jsonl, AFileWithoutRowsIsAnError) {
  EXPECT_EQ(jsonl_error(""), "train.jsonl: has no rows to learn from");
  EXPECT_EQ(jsonl_error("\n{\"text\":\"\"}\n"), "train.jsonl: has no rows to learn from (1 empty ones)");
}

TEST(Jsonl, WhatTheTokenizerRefusesIsPlacedToo) {
  TextEncoder refusing = byte_encoder();
  refusing.encode = [](std::string_view) -> std::vector<std::int32_t> {
    throw ArgumentError("not UTF-8 at byte 3");
  };
  EXPECT_EQ(message_of<DataError>([&] { Dataset::parse_jsonl(R"({"text":"a"})", "t.jsonl", refusing); }),
            "t.jsonl:1: not UTF-8 at byte 3");
}

TEST(Jsonl, IdsBeyondTheModelAreRefused) {
  EXPECT_EQ(
      message_of<DataError>([] {
        Dataset::parse_jsonl(R"({"text":"az"})", "t.jsonl", {bytes_of, {}, 0}, {.vocab_size = 100});
      }),
      "t.jsonl:1: the tokenizer gives id 122, but the model has 100 tokens; they do not belong together");
  EXPECT_THAT(message_of<ConfigError>([] { jsonl(R"({"text":"a"})", {.vocab_size = 257}); }),
              HasSubstr("special token 257 is not among the model's 257 tokens"));
}

TEST(Txt, AFileIsOneDocumentAndKeepsItsBlankLines) {
  const TemporaryDirectory directory;
  const Dataset data =
      Dataset::load(directory.write("a.txt", "\xEF\xBB\xBFone\r\n\r\ntwo"), byte_encoder(true));
  ASSERT_EQ(data.size(), 1);
  EXPECT_EQ(ids_of(data.row(0)), join({bos}, join(bytes_of("one\n\ntwo"), {eos})));
  EXPECT_TRUE(data.row(0).may_split);
}

TEST(Txt, LinesOfEndOfTextSeparateDocuments) {
  const TemporaryDirectory directory;
  const auto file =
      directory.write("a.txt", "<|endoftext|>\none\n<|endoftext|>\n\n<|endoftext|>\ntwo <|endoftext|>\n");
  const Dataset data = Dataset::load(file, byte_encoder());
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(ids_of(data.row(0)), join(bytes_of("one\n"), {eos}));
  EXPECT_EQ(ids_of(data.row(1)), join(bytes_of("two <|endoftext|>\n"), {eos}));
}

TEST(Txt, ErrorsNameTheDocumentsFirstLine) {
  const TemporaryDirectory directory;
  const auto file = directory.write("a.txt", "one\n<|endoftext|>\nz\n");
  EXPECT_THAT(message_of<DataError>([&] {
                Dataset::load(file, {bytes_of, {}, 0}, {.vocab_size = 120});
              }),
              HasSubstr("a.txt:3: the tokenizer gives id 122"));
  const auto empty = directory.write("empty.txt", "");
  EXPECT_THAT(message_of<DataError>([&] { Dataset::load(empty, byte_encoder()); }),
              EndsWith("empty.txt: has no rows to learn from"));
}

TEST(DatasetFile, TheChecksumIsOfTheFilesBytes) {
  const TemporaryDirectory directory;
  const Dataset data = Dataset::load(directory.write("a.txt", "hello wick"), byte_encoder());
  EXPECT_EQ(data.checksum().size(), 32);
  EXPECT_EQ(Dataset::load(directory.write("b.txt", "hello wick"), byte_encoder()).checksum(),
            data.checksum());
  EXPECT_NE(Dataset::load(directory.write("b.txt", "hello wicK"), byte_encoder()).checksum(),
            data.checksum());
}

TEST(DatasetFile, AbsentFilesDirectoriesAndOtherKindsAreRefused) {
  const TemporaryDirectory directory;
  EXPECT_THAT(message_of<FileError>([&] { Dataset::load(directory.path() / "no.jsonl", byte_encoder()); }),
              HasSubstr("no.jsonl"));
  std::filesystem::create_directory(directory.path() / "folder.txt");
  EXPECT_THAT(message_of<FileError>([&] { Dataset::load(directory.path() / "folder.txt", byte_encoder()); }),
              HasSubstr("folder.txt"));
  EXPECT_THAT(
      message_of<ArgumentError>([&] { Dataset::load(directory.write("a.csv", "a"), byte_encoder()); }),
      HasSubstr("a.csv: the kind of data is told by the extension, which must be .jsonl, .txt or "
                ".safetensors"));
  EXPECT_THAT(message_of<ArgumentError>([&] { Dataset::load(directory.write("a.txt", "a"), {}); }),
              HasSubstr("a.txt: text needs a tokenizer"));
}

TEST(TextEncoder, ATokenizerWithoutAnEndIsRefused) {
  const Tokenizer tokenizer =
      Tokenizer::from_json(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  EXPECT_THAT(message_of<ConfigError>([&] { text_encoder(tokenizer); }),
              HasSubstr("the tokenizer names no end-of-text token, which training must teach the model"));
}

// Rows must begin with the very ids that generation from the same text begins with.
TEST(TextEncoder, RowsOfARealTokenizerBeginAsGenerationDoes) {
  const char* configured = std::getenv("WICK_REFERENCE_DIR");
  const std::filesystem::path reference = configured ? configured : WICK_SOURCE_DIR "/../shared/reference";
  if (!std::filesystem::exists(reference)) GTEST_SKIP() << "the reference data are not at " << reference;
  const Tokenizer tokenizer = Tokenizer::from_directory(reference / "models/stories260k");
  const Dataset data = Dataset::parse_jsonl(
      R"({"prompt": "Once upon a time", "completion": ", there was</s>"})", "x", text_encoder(tokenizer));
  const Ids prompt = tokenizer.encode("Once upon a time");
  const Ids whole = tokenizer.encode("Once upon a time, there was</s>");
  EXPECT_EQ(prompt.front(), 1) << "<s>";
  EXPECT_EQ(ids_of(data.row(0)), join(whole, {2})) << "the text, </s> as text, and </s>";
  EXPECT_EQ(labels_of(data.row(0)),
            join(join(Ids(prompt.size(), -100), Ids(whole.begin() + std::ssize(prompt), whole.end())), {2}));
}

}  // namespace
}  // namespace wick
