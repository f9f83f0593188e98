// bos and eos from the files of a model directory.

#include <unistd.h>

#include <optional>

#include "tokenizer/tokenizer_test_util.h"
#include "wick/error.h"

namespace wick::test {
namespace {

class Directory : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(testing::TempDir()) /
           ("wick_tokenizer_" + std::to_string(getpid()) + "_" +
            testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(dir_);
    write("tokenizer.json", small_document().dump());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, const std::string& content) { std::ofstream(dir_ / name) << content; }

  template <class E>
  std::string error() {
    try {
      Tokenizer::from_directory(dir_);
    } catch (const E& e) {
      return e.what();
    }
    return "not thrown";
  }

  std::filesystem::path dir_;
};

TEST_F(Directory, TokenizerAloneHasNoEnds) {
  const auto tokenizer = Tokenizer::from_directory(dir_);
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.eos_id(), std::nullopt);
  EXPECT_TRUE(tokenizer.eos_ids().empty());
}

TEST_F(Directory, NamedTokensGoBeforeIds) {
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<s>", "special": true}, "eos_token": "abab"})");
  write("generation_config.json", R"({"bos_token_id": 0, "eos_token_id": [2, 1, 2]})");
  write("config.json", R"({"bos_token_id": 4, "eos_token_id": 4})");
  const auto tokenizer = Tokenizer::from_directory(dir_);
  EXPECT_EQ(tokenizer.bos_id(), 5);
  EXPECT_EQ(tokenizer.eos_id(), 3);
  EXPECT_EQ(tokenizer.eos_ids(), (Ids{1, 2, 3}));
}

TEST_F(Directory, NullNameMeansNone) {
  write("tokenizer_config.json", R"({"bos_token": null, "eos_token": "ab"})");
  write("generation_config.json", R"({"bos_token_id": 0, "eos_token_id": 2})");
  const auto tokenizer = Tokenizer::from_directory(dir_);
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.eos_id(), 2);
}

TEST_F(Directory, OlderFilesAreAskedInTurn) {
  write("special_tokens_map.json", R"({"bos_token": "<s>"})");
  write("config.json", R"({"eos_token_id": [3, 1], "bos_token_id": 4})");
  const auto tokenizer = Tokenizer::from_directory(dir_);
  EXPECT_EQ(tokenizer.bos_id(), 5);
  EXPECT_EQ(tokenizer.eos_id(), 3);
  EXPECT_EQ(tokenizer.eos_ids(), (Ids{1, 3}));
}

TEST_F(Directory, ErrorsNameTheFile) {
  write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  EXPECT_EQ(error<FormatError>(),
            (dir_ / "tokenizer_config.json").string() + ": eos_token is '</s>', which tokenizer.json lacks.");
  write("tokenizer_config.json", "{}");
  write("generation_config.json", R"({"eos_token_id": "2"})");
  EXPECT_EQ(error<FormatError>(),
            (dir_ / "generation_config.json").string() + ": eos_token_id must be an integer, but is \"2\".");
  std::filesystem::remove(dir_ / "tokenizer.json");
  EXPECT_EQ(error<FileError>(),
            (dir_ / "tokenizer.json").string() + ": no such file, or not a regular file.");
  EXPECT_THROW(Tokenizer::from_file(dir_), FileError);
}

}  // namespace
}  // namespace wick::test
