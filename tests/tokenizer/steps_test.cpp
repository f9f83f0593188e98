// Each normalizer, pre-tokenizer and decoder by itself, against what the `tokenizers` library makes of the
// same input.

#include <memory>

#include "io/tokenizer/decoder.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/pre_tokenizer.h"
#include "io/tokenizer/unicode.h"
#include "tokenizer/tokenizer_test_util.h"

namespace wick::test {
namespace {

using Strings = std::vector<std::string>;

tokenizer::Field field_of(const nlohmann::json& step) { return tokenizer::Field::parse(step.dump(), "step"); }

TEST(Steps, Normalizers) {
  const auto golden = read_json(data_dir() / "steps.json");
  ASSERT_GE(golden["normalizers"].size(), 20u);
  for (const auto& c : golden["normalizers"]) {
    tokenizer::Growth growth;
    const auto steps = tokenizer::read_normalizers(field_of(c["step"]), growth);
    for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
      tokenizer::Stretch stretch{golden["texts"][i], true};
      normalize(steps, stretch);
      EXPECT_EQ(stretch.text, c["out"][i].get<std::string>()) << c["step"] << " on " << golden["texts"][i];
    }
  }
}

TEST(Steps, PreTokenizers) {
  const auto golden = read_json(data_dir() / "steps.json");
  ASSERT_GE(golden["pre_tokenizers"].size(), 60u);
  for (const auto& c : golden["pre_tokenizers"]) {
    tokenizer::Growth growth;
    const auto steps = tokenizer::read_pre_tokenizers(field_of(c["step"]), growth);
    for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
      const auto pieces = pre_tokenize(steps, {golden["texts"][i], true});
      Strings views;
      for (const auto& piece : pieces.pieces) views.emplace_back(pieces.view(piece));
      EXPECT_EQ(views, c["out"][i].get<Strings>()) << c["step"] << " on " << golden["texts"][i];
    }
  }
}

TEST(Steps, Decoders) {
  const auto golden = read_json(data_dir() / "steps.json");
  ASSERT_GE(golden["decoders"].size(), 30u);
  for (const auto& c : golden["decoders"]) {
    const auto steps = tokenizer::read_decoders(field_of(c["step"]));
    for (std::size_t i = 0; i < golden["tokens"].size(); ++i) {
      tokenizer::DecodeChain chain(steps);
      std::string text;
      for (const auto& token : golden["tokens"][i]) chain.push(token, text);
      chain.finish(text);
      EXPECT_EQ(text, c["out"][i].get<std::string>()) << c["step"] << " on " << golden["tokens"][i];
    }
  }
}

TEST(Utf8, ScanFollowsUnicodesTableOfWellFormedSequences) {
  using Kind = tokenizer::Utf8Prefix::Kind;
  struct Case {
    std::string bytes;
    Kind kind;
    std::size_t size;
  };
  const std::vector<Case> cases{
      {"a", Kind::character, 1},
      {std::string(1, '\0'), Kind::character, 1},
      {"\xC3\xA9z", Kind::character, 2},
      {"\xED\x9F\xBF", Kind::character, 3},
      {"\xF4\x8F\xBF\xBF", Kind::character, 4},
      {"\x80", Kind::invalid, 1},
      {"\xC0\xAF", Kind::invalid, 1},          // overlong
      {"\xE0\x9F\xBF", Kind::invalid, 1},      // overlong
      {"\xED\xA0\x80", Kind::invalid, 1},      // surrogate
      {"\xF4\x90\x80\x80", Kind::invalid, 1},  // above U+10FFFF
      {"\xF0\x9F\x41", Kind::invalid, 2},      // maximal subpart
      {"\xE4\xBB", Kind::incomplete, 2},
      {"\xF0", Kind::incomplete, 1},
  };
  for (const Case& c : cases) {
    const auto prefix = tokenizer::scan_utf8(c.bytes);
    EXPECT_EQ(prefix.kind, c.kind) << testing::PrintToString(c.bytes);
    EXPECT_EQ(prefix.size, c.size) << testing::PrintToString(c.bytes);
  }
}

TEST(Unicode, LongRunOfCombiningMarksIsOrderedByClass) {
  // Acute (class 230) and grave below (220) in turn: canonical order puts all the latter first.
  const std::size_t n = 200'000;
  std::string text = "x";
  std::string below;
  std::string above;
  for (std::size_t i = 0; i < n; ++i) {
    text += "\xCC\x81\xCC\x96";
    below += "\xCC\x96";
    above += "\xCC\x81";
  }
  EXPECT_EQ(tokenizer::normalize(text, tokenizer::NormalForm::nfd), "x" + below + above);
}

}  // namespace
}  // namespace wick::test
