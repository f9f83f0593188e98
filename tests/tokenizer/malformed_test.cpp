// Files that are malformed or ask for what is not supported: a typed error that names file and field.

#include <gmock/gmock.h>

#include <functional>

#include "tokenizer/tokenizer_test_util.h"
#include "wick/error.h"

namespace wick::test {
namespace {

using nlohmann::json;

struct Case {
  std::string name;
  std::function<void(json&)> change;
  std::string message;
};

json split(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json bpe_template(json single) {
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", json::array()},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {5}}, {"tokens", {"<s>"}}}}}}};
}

template <class E>
void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    json document = small_document();
    c.change(document);
    EXPECT_EQ(load_error<E>(document), "tokenizer.json: " + c.message);
  }
}

TEST(Malformed, FieldsAreNamed) {
  check<FormatError>({
      {"not an object", [](json& d) { d = json::array(); },
       "the file's value must be an object, but is array."},
      {"no model", [](json& d) { d.erase("model"); }, "the file's value has no 'model'."},
      {"no vocabulary", [](json& d) { d["model"].erase("vocab"); }, "model has no 'vocab'."},
      {"no merges", [](json& d) { d["model"].erase("merges"); }, "model has no 'merges'."},
      {"neither type nor merges",
       [](json& d) {
         d["model"].erase("type");
         d["model"].erase("merges");
       },
       "model has no 'type'."},
      {"vocabulary is an array", [](json& d) { d["model"]["vocab"] = json::array(); },
       "model.vocab must be an object, but is array."},
      {"id is a string", [](json& d) { d["model"]["vocab"]["a"] = "0"; },
       "model.vocab.a must be an integer, but is \"0\"."},
      {"id is fractional", [](json& d) { d["model"]["vocab"]["a"] = 0.5; },
       "model.vocab.a must be an integer, but is 0.5."},
      {"id is negative", [](json& d) { d["model"]["vocab"]["a"] = -1; },
       "model.vocab.a must be between 0 and 65546, but is -1."},
      {"id is far out", [](json& d) { d["model"]["vocab"]["a"] = 2000000000; },
       "model.vocab.a must be between 0 and 65546, but is 2000000000."},
      {"id beyond 64 bits", [](json& d) { d["model"]["vocab"]["a"] = 18446744073709551615u; },
       "model.vocab.a must be between 0 and 65546, but is 18446744073709551615."},
      {"id given twice", [](json& d) { d["model"]["vocab"]["b"] = 0; },
       "model.vocab.b gives 'b' the id 0, which 'a' has."},
      {"merges are an object", [](json& d) { d["model"]["merges"] = json::object(); },
       "model.merges must be an array, but is object."},
      {"merge is one word", [](json& d) { d["model"]["merges"][1] = "abab"; },
       "model.merges[1] must be two tokens with one space between them, but is 'abab'."},
      {"merge is three words", [](json& d) { d["model"]["merges"][1] = "a b a"; },
       "model.merges[1] must be two tokens with one space between them, but is 'a b a'."},
      {"merge of three",
       [](json& d) {
         d["model"]["merges"][1] = {"a", "b", "a"};
       },
       "model.merges[1] must hold two tokens."},
      {"merge is a number", [](json& d) { d["model"]["merges"][1] = 3; },
       "model.merges[1] must be a string, but is number."},
      {"left piece missing",
       [](json& d) {
         d["model"]["merges"][0] = {"x", "b"};
       },
       "model.merges[0] needs 'x', which the vocabulary lacks."},
      {"right piece missing",
       [](json& d) {
         d["model"]["merges"][0] = {"a", "x"};
       },
       "model.merges[0] needs 'x', which the vocabulary lacks."},
      {"merged piece missing",
       [](json& d) {
         d["model"]["merges"][0] = {"b", "a"};
       },
       "model.merges[0] needs 'ba', which the vocabulary lacks."},
      {"merge of an added token",
       [](json& d) {
         d["model"]["merges"][0] = {"<s>", "a"};
       },
       "model.merges[0] needs '<s>', which the vocabulary lacks."},
      {"added token's id taken", [](json& d) { d["added_tokens"][0]["id"] = 3; },
       "added_tokens[0].id gives '<s>' the id 3, which 'abab' has."},
      {"added token with another id", [](json& d) { d["added_tokens"][0]["content"] = "ab"; },
       "added_tokens[0].id gives 'ab' the id 5, but it has the id 2."},
      {"added token without content", [](json& d) { d["added_tokens"][0].erase("content"); },
       "added_tokens[0] has no 'content'."},
      {"flag is a number", [](json& d) { d["added_tokens"][0]["lstrip"] = 1; },
       "added_tokens[0].lstrip must be true or false, but is number."},
      {"added token twice", [](json& d) { d["added_tokens"].push_back(d["added_tokens"][0]); },
       "added_tokens[1].content '<s>' matches the same text as another added token."},
      {"template names no token",
       [](json& d) {
         d["post_processor"] =
             bpe_template({{{"SpecialToken", {{"id", "<x>"}}}}, {{"Sequence", {{"id", "A"}}}}});
       },
       "post_processor.single[0].SpecialToken.id names '<x>', which special_tokens lacks."},
      {"template's id is out of bounds",
       [](json& d) {
         d["post_processor"] =
             bpe_template({{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}});
         d["post_processor"]["special_tokens"]["<s>"]["ids"] = {6};
       },
       "post_processor.special_tokens.<s>.ids[0] must be between 0 and 5, but is 6."},
      {"template without text", [](json& d) { d["post_processor"] = bpe_template(json::array()); },
       "post_processor.single must hold the sequence 'A'."},
      {"step without type",
       [](json& d) {
         d["normalizer"] = {{"prepend", "x"}};
       },
       "normalizer has no 'type'."},
      {"pattern of no kind",
       [](json& d) {
         d["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Other", "x"}}}, {"content", ""}};
       },
       "normalizer.pattern must have 'String' or 'Regex'."},
      {"regex that PCRE2 refuses", [](json& d) { d["pre_tokenizer"] = split("a("); },
       "pre_tokenizer.pattern.Regex holds the regular expression 'a(', which cannot be read: missing closing "
       "parenthesis."},
      {"contradicting Metaspace",
       [](json& d) {
         d["decoder"] = {{"type", "Metaspace"},
                         {"replacement", "_"},
                         {"add_prefix_space", false},
                         {"prepend_scheme", "always"}};
       },
       "decoder.add_prefix_space contradicts prepend_scheme."},
      {"replacement of two characters",
       [](json& d) {
         d["decoder"] = {{"type", "Metaspace"}, {"replacement", "__"}};
       },
       "decoder.replacement must be one character, but is '__'."},
  });
}

TEST(Malformed, UnsupportedIsRefusedByName) {
  const std::string regex = "pre_tokenizer.pattern.Regex holds the regular expression ";
  check<ConfigError>({
      {"version", [](json& d) { d["version"] = "2.0"; }, "version '2.0' is not supported; this is: 1.0."},
      {"model", [](json& d) { d["model"]["type"] = "WordPiece"; },
       "model.type 'WordPiece' is not supported; this is: BPE."},
      {"dropout", [](json& d) { d["model"]["dropout"] = 0.1; },
       "model.dropout other than 0 is not supported."},
      {"subword prefix", [](json& d) { d["model"]["continuing_subword_prefix"] = "##"; },
       "model.continuing_subword_prefix '##' is not supported."},
      {"word suffix", [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; },
       "model.end_of_word_suffix '</w>' is not supported."},
      {"normalizer",
       [](json& d) {
         d["normalizer"] = {{"type", "Sequence"},
                            {"normalizers", {{{"type", "NFC"}}, {{"type", "BertNormalizer"}}}}};
       },
       "normalizer.normalizers[1].type 'BertNormalizer' is not supported; these are: Sequence, Prepend, "
       "Replace, NFC, "
       "NFD, NFKC, NFKD, Lowercase, Strip."},
      {"pre-tokenizer",
       [](json& d) {
         d["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
       },
       "pre_tokenizer.type 'UnicodeScripts' is not supported; these are: Sequence, Split, ByteLevel, "
       "Metaspace, "
       "Whitespace, WhitespaceSplit, Digits, Punctuation."},
      {"decoder",
       [](json& d) {
         d["decoder"] = {{"type", "CTC"}};
       },
       "decoder.type 'CTC' is not supported; these are: Sequence, ByteLevel, Replace, ByteFallback, Fuse, "
       "Strip, "
       "Metaspace."},
      {"post-processor",
       [](json& d) {
         d["post_processor"] = {{"type", "BertProcessing"}};
       },
       "post_processor.type 'BertProcessing' is not supported; these are: TemplateProcessing, ByteLevel, "
       "Sequence."},
      {"behavior",
       [](json& d) {
         d["pre_tokenizer"] = split("a");
         d["pre_tokenizer"]["behavior"] = "Other";
       },
       "pre_tokenizer.behavior 'Other' is not supported."},
      {"class intersection", [](json& d) { d["pre_tokenizer"] = split("[a&&b]"); },
       regex + "'[a&&b]', in which '&&' is not supported."},
      {"nested class", [](json& d) { d["pre_tokenizer"] = split("[a[b]]"); },
       regex + "'[a[b]]', in which a bracket expression inside another is not supported."},
      {"word boundary", [](json& d) { d["pre_tokenizer"] = split("\\bx"); },
       regex + "'\\bx', in which '\\b' is not supported."},
      {"options inside", [](json& d) { d["pre_tokenizer"] = split("a(?i)b"); },
       regex + "'a(?i)b', in which '(?)' is not supported."},
      {"named group", [](json& d) { d["pre_tokenizer"] = split("(?<n>a)"); },
       regex + "'(?<n>a)', in which '(?<' is not supported."},
      {"verb", [](json& d) { d["pre_tokenizer"] = split("(*ACCEPT)"); },
       regex + "'(*ACCEPT)', in which '(*' is not supported."},
      {"repeated interval", [](json& d) { d["pre_tokenizer"] = split("a{1,2}+"); },
       regex + "'a{1,2}+', in which a '+' behind '{n,m}' is not supported."},
      {"explosive normalizer",
       [](json& d) {
         json parts = json::array();
         for (int i = 0; i < 4; ++i) {
           parts.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaaaa"}});
         }
         d["normalizer"] = {{"type", "Sequence"}, {"normalizers", parts}};
       },
       "normalizer.normalizers[3] could, with the steps before it, make a text more than 1024 times as "
       "long."},
      {"too many steps",
       [](json& d) {
         d["decoder"] = {{"type", "Sequence"}, {"decoders", json(100, json{{"type", "Fuse"}})}};
       },
       "decoder.decoders[64] is more than 64 steps."},
      {"vast added token", [](json& d) { d["added_tokens"][0]["content"] = std::string(2000, 'x'); },
       "added_tokens[0].content is longer than 1024 bytes."},
  });
}

TEST(Malformed, JsonItself) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      Tokenizer::from_json(text, "dir/tokenizer.json");
    } catch (const FormatError& e) {
      return e.what();
    }
    return "no FormatError";
  };
  EXPECT_EQ(message(std::string(100'000, '[')), "dir/tokenizer.json: values are nested more than 64 deep.");
  EXPECT_EQ(message("{\"a\":" + std::string(1'000'000, '{')),
            "dir/tokenizer.json: values are nested more than 64 deep.");
  EXPECT_THAT(message("{\"model\": "), testing::StartsWith("dir/tokenizer.json: not valid JSON: "));
  EXPECT_THAT(message("{\"model\": \"\xFF\"}"), testing::StartsWith("dir/tokenizer.json: not valid JSON: "));
  EXPECT_THAT(message(""), testing::StartsWith("dir/tokenizer.json: not valid JSON: "));
  EXPECT_EQ(message("null"), "dir/tokenizer.json: the file's value must be an object, but is null.");
}

TEST(Malformed, OldFormsLoad) {
  json document = small_document();
  document["model"].erase("type");
  document["model"]["merges"] = {"#version: 0.2", "a b", "ab ab"};
  document["model"]["continuing_subword_prefix"] = "";
  document["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", " "}, {"add_prefix_space", true}};
  EXPECT_EQ(load(document).encode("abab"), (Ids{4, 3}));
  document["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(load(document).encode("abab"), Ids{3});
}

}  // namespace
}  // namespace wick::test
