#include "io/json.h"

#include <gtest/gtest.h>

#include <string>

#include "io/json_field.h"
#include "io/printable.h"
#include "io/read_file.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "wick/error.h"

namespace wick::testing {
namespace {

std::string complaint(std::string_view text) {
  return error_text<FormatError>([&] { parse_json(text, "f.json"); });
}

TEST(Json, BuildsEveryKindOfValue) {
  const char* text = R"({"a":[1,-2,2.5,true,null,"xé",{"b":{}},[]],"c":18446744073709551615})";
  EXPECT_EQ(parse_json(text, "f.json"), nlohmann::json::parse(text));
  EXPECT_EQ(parse_json(" 3 ", "f.json"), 3);
}

TEST(Json, NamesFileAndPlace) {
  EXPECT_EQ(complaint("{\n\"a\": tru}"),
            "f.json: not valid JSON: parse error at line 2, column 9: syntax error while parsing value - "
            "invalid literal");
  EXPECT_EQ(complaint(""),
            "f.json: not valid JSON: parse error at line 1, column 1: syntax error while parsing value - "
            "unexpected end of "
            "input; expected '[', '{', or a literal");
  EXPECT_EQ(complaint("{} {}"),
            "f.json: not valid JSON: parse error at line 1, column 4: syntax error while parsing value - "
            "unexpected '{'; "
            "expected end of input");
  EXPECT_EQ(complaint("\"\xc3\x28\""),
            "f.json: not valid JSON: parse error at line 1, column 3: syntax error while parsing value - "
            "invalid string: "
            "ill-formed UTF-8 byte");
  EXPECT_EQ(complaint("[NaN]"),
            "f.json: not valid JSON: parse error at line 1, column 2: syntax error while parsing value - "
            "invalid literal");
}

TEST(Json, RefusesTwinKeysAtAnyDepth) {
  EXPECT_EQ(complaint(R"({"a":1,"b":2,"a":3})"), "f.json: an object has the key 'a' twice");
  EXPECT_EQ(complaint(R"([{"a":{"x":1,"\u0078":2}}])"), "f.json: an object has the key 'x' twice");
  EXPECT_EQ(parse_json(R"([{"a":1},{"a":1}])", "f.json").size(), 2u);
}

TEST(Json, RefusesDeepNesting) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NO_THROW(parse_json(nested(max_json_depth), "f.json"));
  EXPECT_EQ(complaint(nested(max_json_depth + 1)), "f.json: values are nested more than 64 deep");
  EXPECT_EQ(complaint(std::string(5'000'000, '[')), "f.json: values are nested more than 64 deep");
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) objects += R"({"a":)";
  EXPECT_EQ(complaint(objects), "f.json: values are nested more than 64 deep");
}

TEST(Json, MessagesStayShort) {
  EXPECT_LT(complaint("[" + std::string(1'000'000, '9') + "]").size(), 300u);
  EXPECT_LT(complaint("\"" + std::string(1'000'000, 'x')).size(), 300u);
  const std::string key(1'000'000, 'k');
  EXPECT_LT(complaint("{\"" + key + "\":1,\"" + key + "\":1}").size(), 300u);
}

TEST(Json, FilesHaveALargestSize) {
  const TemporaryDirectory directory;
  const std::string path = (directory / "f.json").string();
  write_text(path, "[1,2]");
  EXPECT_EQ(read_json_file(path, 5).size(), 2u);
  EXPECT_EQ(error_text<FormatError>([&] { read_json_file(path, 4); }),
            path + ": has 5 bytes, more than the 4 that a file of its kind may have");
  EXPECT_EQ(error_text<FileError>([&] { read_json_file(directory / "none", 4); }),
            "cannot open '" + (directory / "none").string() + "': No such file or directory");
}

TEST(JsonField, ComplaintsNameFileAndField) {
  const JsonField root(
      parse_json(R"({"a":{"b":[1,"x",-1]},"big":18446744073709551615,"n":null,"f":1.5})", "f.json"), "f.json",
      JsonField::throw_as<ConfigError>);
  const auto list = root.at("a").at("b").elements();
  EXPECT_EQ(list[0].integer(0, 5), 1);
  EXPECT_EQ(root.number_or("f", 0), 1.5);
  EXPECT_EQ(root.integer_or("none", 7, 0, 5), 7);
  EXPECT_EQ(root.integer_or("n", 7, 0, 5), 7);
  EXPECT_TRUE(root.has("n"));
  EXPECT_FALSE(root.find("n"));
  const auto says = [](auto&& f) { return error_text<ConfigError>(f); };
  EXPECT_EQ(says([&] { list[1].integer(0, 5); }), "f.json: 'a.b[1]' must be a whole number, not \"x\"");
  EXPECT_EQ(says([&] { list[2].integer(0, 5); }), "f.json: 'a.b[2]' must be from 0 to 5, not -1");
  EXPECT_EQ(says([&] { root.at("big").integer(-5, 5); }),
            "f.json: 'big' must be from -5 to 5, not 18446744073709551615");
  EXPECT_EQ(says([&] { root.at("f").integer(0, 5); }), "f.json: 'f' must be a whole number, not 1.5");
  EXPECT_EQ(says([&] { root.at("f").boolean(); }), "f.json: 'f' must be true or false, not 1.5");
  EXPECT_EQ(says([&] { root.at("f").string(); }), "f.json: 'f' must be a string, not 1.5");
  EXPECT_EQ(says([&] { root.at("a").elements(); }), "f.json: 'a' must be a list, not {\"b\":[1,\"x\",-1]}");
  EXPECT_EQ(says([&] { root.at("n"); }), "f.json: the file's value must have a value for 'n'");
  EXPECT_EQ(says([&] { list[0].find("x"); }), "f.json: 'a.b[0]' must be an object, not 1");
}

TEST(Printable, CutsBetweenCharactersAndHidesControls) {
  EXPECT_EQ(printable("a\nb\x7f"), "a?b?");
  EXPECT_EQ(printable("\xc3\xa9\xc3\xa9", 3), "\xc3\xa9...");
  EXPECT_EQ(printable("\xc3\xa9\xc3\xa9", 4), "\xc3\xa9\xc3\xa9");
}

}  // namespace
}  // namespace wick::testing
