#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <string>

#include "io/safetensors_bytes.h"
#include "support/error_text.h"
#include "wick/error.h"
#include "wick/safetensors.h"

namespace wick::testing {
namespace {

/// One F32 tensor "x" with this shape and these offsets.
std::string one(std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"x":{{"dtype":"F32","shape":{},"data_offsets":{}}}}})", shape, offsets);
}

std::string complaint(const std::string& file) {
  return error_text<FormatError>([&] { Safetensors::parse(bytes_of(file), "f"); });
}

std::string with_length(std::uint64_t length, std::size_t file_size) {
  std::string file(file_size, ' ');
  std::memcpy(file.data(), &length, sizeof length);
  return file;
}

struct BadHeader {
  const char* name;
  std::string header;
  std::size_t data_bytes;
  std::string text;
};

class MalformedSafetensors : public ::testing::TestWithParam<BadHeader> {};

TEST_P(MalformedSafetensors, IsRefusedByName) {
  EXPECT_EQ(complaint(safetensors_bytes(GetParam().header, GetParam().data_bytes)), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Headers, MalformedSafetensors,
    ::testing::Values(
        BadHeader{"hole",
                  R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                  R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                  3,
                  "f: tensor 'b' begins at byte 2 of the data, which leaves a hole after the one before it, "
                  "ending at 1"},
        BadHeader{
            "overlap",
            R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
            3, "f: tensor 'b' begins at byte 1 of the data, which overlaps the one before it, ending at 2"},
        BadHeader{
            "same_data_twice",
            R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
            2, "f: tensor 'b' begins at byte 0 of the data, which overlaps the one before it, ending at 2"},
        BadHeader{"begin_after_end", one("[1]", "[4,0]"), 4,
                  "f: tensor 'x' has data that ends at 0, before it begins at 4"},
        BadHeader{"first_byte_unused", one("[1]", "[1,5]"), 5,
                  "f: tensor 'x' begins at byte 1 of the data, which leaves a hole after the one before it, "
                  "ending at 0"},
        BadHeader{"trailing_byte", one("[1]", "[0,4]"), 5,
                  "f: has 1 bytes after the data of its last tensor"},
        BadHeader{
            "past_the_end", one("[2]", "[0,8]"), 7,
            "f: tensor 'x' has data up to byte 8, but the file has only 7 bytes of data: it is cut short"},
        BadHeader{"end_wraps", one("[1]", "[0,18446744073709551615]"), 4,
                  "f: tensor 'x' has data up to byte 18446744073709551615, but the file has only 4 bytes of "
                  "data: it is "
                  "cut short"},
        BadHeader{"product_wraps", one("[4294967296,4294967296,4]", "[0,0]"), 0,
                  "f: tensor 'x' has an impossible shape: a shape with more than 2^62 elements: [4294967296, "
                  "4294967296, 4]"},
        BadHeader{"bytes_wrap", one("[4611686018427387904]", "[0,0]"), 0,
                  "f: tensor 'x' is F32 [4611686018427387904] and has 0 bytes of data, which do not agree"},
        BadHeader{"dimension_wraps", one("[18446744073709551615]", "[0,4]"), 4,
                  "f: tensor 'x' has a dimension of 18446744073709551615, which is too large"},
        BadHeader{"size_disagrees", one("[2]", "[0,4]"), 4,
                  "f: tensor 'x' is F32 [2] and has 4 bytes of data, which do not agree"},
        BadHeader{"half_an_element", one("[1]", "[0,6]"), 6,
                  "f: tensor 'x' is F32 [1] and has 6 bytes of data, which do not agree"},
        BadHeader{"negative_dimension", one("[-1]", "[0,4]"), 4,
                  "f: tensor 'x' has a negative number out of place in its shape"},
        BadHeader{"fractional_dimension", one("[1.0]", "[0,4]"), 4,
                  "f: tensor 'x' has a number that is not whole or too large out of place in its shape"},
        BadHeader{"huge_dimension", one("[99999999999999999999]", "[0,4]"), 4,
                  "f: tensor 'x' has a number that is not whole or too large out of place in its shape"},
        BadHeader{"nine_dimensions", one("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4,
                  "f: tensor 'x' has more than 8 numbers in its shape"},
        BadHeader{"one_offset", one("[1]", "[4]"), 4,
                  "f: tensor 'x' has data_offsets that are not a [begin, end] pair"},
        BadHeader{"null_offsets", one("[1]", "null"), 4,
                  "f: tensor 'x' has null out of place in its data_offsets"},
        BadHeader{"string_shape", one("\"1\"", "[0,4]"), 4,
                  "f: tensor 'x' has a string out of place in its shape"},
        BadHeader{"nested_shape", one("[[1]]", "[0,4]"), 4,
                  "f: tensor 'x' has a list out of place in its shape"},
        BadHeader{"no_dtype", R"({"x":{"shape":[1],"data_offsets":[0,4]}})", 4, "f: tensor 'x' has no dtype"},
        BadHeader{"no_shape", R"({"x":{"dtype":"F32","data_offsets":[0,4]}})", 4,
                  "f: tensor 'x' has no shape"},
        BadHeader{"no_offsets", R"({"x":{"dtype":"F32","shape":[1]}})", 4,
                  "f: tensor 'x' has no data_offsets"},
        BadHeader{"unknown_field", R"({"x":{"dtype":"F32","stride":[1]}})", 4,
                  "f: tensor 'x' has the unknown field 'stride'"},
        BadHeader{"field_twice", R"({"x":{"dtype":"F32","dtype":"F32"}})", 4,
                  "f: tensor 'x' has its dtype twice"},
        BadHeader{"tensor_twice",
                  R"({"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                  R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                  0, "f: has tensor 'x' twice"},
        BadHeader{"metadata_twice", R"({"__metadata__":{},"__metadata__":{}})", 0,
                  "f: the header has '__metadata__' twice"},
        BadHeader{"metadata_key_twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0,
                  "f: the metadata has 'a' twice"},
        BadHeader{"metadata_number", R"({"__metadata__":{"a":1}})", 0, "f: the metadata 'a' is not a string"},
        BadHeader{"metadata_is_list", R"({"__metadata__":[]})", 0, "f: the header has a list out of place"},
        BadHeader{"unsupported_dtype", R"({"x":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4,
                  "f: tensor 'x' has elements of type 'F8_E4M3'; supported are BOOL, U8, I32, I64, F16, "
                  "BF16, F32, F64: "
                  "convert the file first"},
        BadHeader{"boolean_2", R"({"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", 3,
                  "f: tensor 'x' is BOOL and has a byte other than 0 and 1"},
        BadHeader{"not_an_object", "[]", 0, "f: has a header that does not begin with '{'"},
        BadHeader{"leading_space", " {}", 0, "f: has a header that does not begin with '{'"},
        BadHeader{"cut_json", R"({"x":)", 0,
                  "f: not valid JSON: parse error at line 1, column 6: syntax error while parsing value - "
                  "unexpected end "
                  "of input; expected '[', '{', or a literal"},
        BadHeader{"rubbish_after", "{}x", 0,
                  "f: not valid JSON: parse error at line 1, column 3: syntax error while parsing value - "
                  "invalid literal"},
        BadHeader{"bad_utf8", "{\"\xff\":{}}", 0,
                  "f: not valid JSON: parse error at line 1, column 3: syntax error while parsing object key "
                  "- invalid "
                  "string: ill-formed UTF-8 byte"},
        BadHeader{"number_overflow", one("[1e999]", "[0,4]"), 4,
                  "f: not valid JSON: number overflow parsing '1e999'"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(MalformedSafetensorsFile, HeaderLengthsAreCheckedFirst) {
  EXPECT_EQ(complaint(""), "f: has only 0 bytes, too few for a safetensors file");
  EXPECT_EQ(complaint("1234567"), "f: has only 7 bytes, too few for a safetensors file");
  EXPECT_EQ(complaint(with_length(0, 8)), "f: has an empty header");
  EXPECT_EQ(complaint(with_length(9, 16)),
            "f: says that its header has 9 bytes, but only 8 follow: the file is cut short");
  EXPECT_EQ(
      complaint(with_length(100'000'001, 16)),
      "f: says that its header has 100000001 bytes; at most 100000000 are allowed: not a safetensors file?");
  EXPECT_EQ(complaint(with_length(~std::uint64_t{0}, 16)),
            "f: says that its header has 18446744073709551615 bytes; at most 100000000 are allowed: not a "
            "safetensors "
            "file?");
}

TEST(MalformedSafetensorsFile, TruncationAtAnyByteIsRefused) {
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"__metadata__":{"k":"v"},)"
      R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[5,13]}}  )";
  const std::string file = safetensors_bytes(header, 13);
  EXPECT_EQ(Safetensors::parse(bytes_of(file), "f").tensors().size(), 2u);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_THROW(Safetensors::parse(bytes_of(file.substr(0, size)), "f"), FormatError) << size;
  }
}

TEST(MalformedSafetensorsFile, DeepNestingIsRefusedAtOnce) {
  std::string header = R"({"x":)";
  header.append(10'000'000, '[');
  EXPECT_EQ(complaint(safetensors_bytes(header, 0)), "f: the header has a list out of place");
}

TEST(MalformedSafetensorsFile, LongNamesAreCutInMessages) {
  const std::string header = R"({")" + std::string(1'000'000, 'n') + R"(":{}})";
  EXPECT_EQ(complaint(safetensors_bytes(header, 0)),
            "f: tensor '" + std::string(120, 'n') + "...' has no dtype");
}

TEST(LargeSafetensors, AMillionEntriesLoadInBoundedTime) {
  constexpr int count = 1'000'000;
  std::string header = "{";
  for (int i = 0; i < count; ++i) {
    header += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i ? "," : "", i, i,
                          i + 1);
  }
  header += "}";
  const std::string file = safetensors_bytes(header, count);
  const auto start = std::chrono::steady_clock::now();
  const auto parsed = Safetensors::parse(bytes_of(file), "f");
  EXPECT_LT(std::chrono::steady_clock::now() - start,
            std::chrono::seconds(60));  // about 1 s; quadratic would be hours
  ASSERT_EQ(parsed.tensors().size(), static_cast<std::size_t>(count));
  EXPECT_EQ(std::to_integer<int>(parsed.at("258").bytes[0]), 2);
}

}  // namespace
}  // namespace wick::testing
