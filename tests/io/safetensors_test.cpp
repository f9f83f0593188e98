#include "wick/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "golden/reference.h"
#include "io/safetensors_bytes.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/temporary_directory.h"
#include "wick/error.h"

namespace wick::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <typename T>
TensorToWrite tensor(const std::string& name, DType dtype, const Shape& shape, const std::vector<T>& data) {
  return {name, dtype, shape, std::as_bytes(std::span(data))};
}

std::size_t files_in(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TemporaryDirectory directory;
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> floats{1.5f, -2.0f, std::nanf(""), inf, -inf, 0.0f};
  const std::vector<std::int64_t> integers{-1};
  const std::vector<std::uint8_t> booleans{0, 1, 1};
  const std::vector<float> nothing;
  const std::vector<TensorToWrite> tensors{
      tensor("floats", DType::f32, {2, 3}, floats), tensor("scalar", DType::i64, {}, integers),
      tensor("flags", DType::bool_, {3}, booleans), tensor("empty", DType::bf16, {4, 0}, nothing)};
  write_safetensors(directory / "a.safetensors", tensors,
                    {{"format", "pt"}, {"note", "\"quoted\"\n\xc3\xa9"}});

  const auto file = Safetensors::open(directory / "a.safetensors");
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.tensors()[0].name, "empty");
  EXPECT_EQ(file.tensors()[3].name, "scalar");
  EXPECT_EQ(file.at("floats").shape, (Shape{2, 3}));
  EXPECT_EQ(file.at("floats").dtype, DType::f32);
  EXPECT_EQ(std::memcmp(file.at("floats").bytes.data(), floats.data(), sizeof(float) * floats.size()), 0);
  EXPECT_EQ(file.at("scalar").shape, Shape{});
  EXPECT_EQ(file.at("scalar").bytes.size(), 8u);
  EXPECT_EQ(file.at("empty").shape, (Shape{4, 0}));
  EXPECT_TRUE(file.at("empty").bytes.empty());
  EXPECT_EQ(file.at("flags").dtype, DType::bool_);
  EXPECT_EQ(file.metadata().at("note"), "\"quoted\"\n\xc3\xa9");
  EXPECT_EQ(file.find("other"), nullptr);
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST(Safetensors, WritesTheLayoutOfTheFormatsLibrary) {
  // Header as safetensors 0.8 for Python writes it for these tensors: widest dtype first, then by name.
  const TemporaryDirectory directory;
  const std::vector<std::uint8_t> bytes(8, 7);
  const auto part = [&](std::size_t n) { return std::as_bytes(std::span(bytes).first(n)); };
  const std::vector<TensorToWrite> tensors{
      {"z", DType::u8, {3}, part(3)},  {"b", DType::f32, {1, 2}, part(8)}, {"a", DType::f32, {}, part(4)},
      {"h", DType::f16, {1}, part(2)}, {"w", DType::i64, {1}, part(8)},    {"g", DType::bf16, {2}, part(4)},
      {"d", DType::f64, {1}, part(8)}, {"i", DType::i32, {1}, part(4)},    {"o", DType::bool_, {0}, part(0)}};
  write_safetensors(directory / "a.safetensors", tensors);
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[16,20]},)"
      R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[20,28]},)"
      R"("i":{"dtype":"I32","shape":[1],"data_offsets":[28,32]},)"
      R"("g":{"dtype":"BF16","shape":[2],"data_offsets":[32,36]},)"
      R"("h":{"dtype":"F16","shape":[1],"data_offsets":[36,38]},)"
      R"("z":{"dtype":"U8","shape":[3],"data_offsets":[38,41]},)"
      R"("o":{"dtype":"BOOL","shape":[0],"data_offsets":[41,41]}})";
  const std::string file = read_text(directory / "a.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(file.substr(8, header.size()), header);
  EXPECT_EQ(file.substr(8 + header.size(), length - header.size()), std::string(length - header.size(), ' '));
  EXPECT_EQ(file.size(), 8 + length + 41);
}

TEST(Safetensors, RewritesAReferenceFileByteForByte) {
  WICK_NEEDS_REFERENCE();
  const TemporaryDirectory directory;
  for (const char* name : {"golden/lora_stories260k_qv_r8/adapter_final/adapter_model.safetensors",
                           "models/tiny-qwen2/model.safetensors"}) {
    const fs::path original = reference_directory() / name;
    const auto file = Safetensors::open(original);
    std::vector<TensorToWrite> tensors;
    for (const TensorInfo& t : file.tensors()) tensors.push_back({t.name, t.dtype, t.shape, t.bytes});
    write_safetensors(directory / "copy.safetensors", tensors, file.metadata());
    EXPECT_EQ(read_text(directory / "copy.safetensors"), read_text(original)) << name;
  }
}

TEST(Safetensors, TensorsOutliveTheCollection) {
  const TemporaryDirectory directory;
  const std::vector<float> data(100'000, 2.5f);
  const std::vector<TensorToWrite> tensors{tensor("x", DType::f32, {100'000}, data)};
  write_safetensors(directory / "a.safetensors", tensors);
  const TensorInfo kept = Safetensors::open(directory / "a.safetensors").at("x");
  float last = 0;
  std::memcpy(&last, kept.bytes.data() + kept.bytes.size() - sizeof last, sizeof last);
  EXPECT_EQ(last, 2.5f);
}

TEST(Safetensors, AFileWithoutTensorsIsLegal) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "a.safetensors", {}, {});
  EXPECT_EQ(read_text(directory / "a.safetensors").substr(8), "{}      ");
  EXPECT_TRUE(Safetensors::open(directory / "a.safetensors").tensors().empty());
}

TEST(Safetensors, RefusesToWriteWhatIsNotAFile) {
  const TemporaryDirectory directory;
  const std::vector<float> one{1};
  const auto write = [&](const std::vector<TensorToWrite>& tensors) {
    return error_text<ArgumentError>([&] { write_safetensors(directory / "a.safetensors", tensors); });
  };
  EXPECT_EQ(write({tensor("x", DType::f32, {1}, one), tensor("x", DType::f32, {1}, one)}),
            "tensor 'x' is given twice for one safetensors file");
  EXPECT_EQ(write({tensor("x", DType::f32, {2}, one)}),
            "tensor 'x' is f32[2] and needs 8 bytes, but 4 are given");
  EXPECT_EQ(write({tensor("__metadata__", DType::f32, {1}, one)}),
            "a tensor cannot be named '__metadata__' in a safetensors file");
  EXPECT_THAT(write({tensor("x\xff", DType::f32, {1}, one)}), HasSubstr("is not UTF-8"));
  EXPECT_EQ(files_in(directory.path()), 0u);
}

TEST(Safetensors, AFailedWriteLeavesTheOldFileWhole) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.safetensors";
  const std::vector<float> small{1, 2, 3};
  const std::vector<float> large(100'000, 1.0f);
  const std::vector<TensorToWrite> before{tensor("x", DType::f32, {3}, small)};
  const std::vector<TensorToWrite> after{tensor("x", DType::f32, {100'000}, large)};
  write_safetensors(path, before);
  const std::string old_bytes = read_text(path);
  {
    const FileSizeLimit limit(1000);
    EXPECT_EQ(error_text<FileError>([&] { write_safetensors(path, after); }),
              "cannot write '" + path.string() + "': File too large");
  }
  EXPECT_EQ(read_text(path), old_bytes);
  EXPECT_EQ(files_in(directory.path()), 1u);
  write_safetensors(path, after);
  EXPECT_EQ(Safetensors::open(path).at("x").shape, (Shape{100'000}));
}

TEST(Safetensors, NamesThePathThatCannotBeOpened) {
  const TemporaryDirectory directory;
  const std::string missing = (directory / "missing.safetensors").string();
  EXPECT_EQ(error_text<FileError>([&] { Safetensors::open(missing); }),
            "cannot open '" + missing + "': No such file or directory");
  EXPECT_EQ(error_text<FileError>([&] { Safetensors::open(directory.path()); }),
            "cannot read '" + directory.path().string() + "': it is not a regular file");
  const fs::path nowhere = directory / "no" / "a.safetensors";
  EXPECT_EQ(error_text<FileError>([&] { write_safetensors(nowhere, {}); }),
            "cannot write '" + nowhere.string() + "': No such file or directory");
}

TEST(SafetensorsDeathTest, AFileThatShrinksWhileMappedEndsTheProgramWithItsName) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.safetensors";
  const std::vector<float> data(100'000, 1.0f);
  const std::vector<TensorToWrite> tensors{tensor("x", DType::f32, {100'000}, data)};
  write_safetensors(path, tensors);
  EXPECT_EXIT(
      {
        exit_when_a_mapped_file_shrinks();
        const auto file = Safetensors::open(path);
        fs::resize_file(path, 4096);
        volatile int last = std::to_integer<int>(file.at("x").bytes.back());
        static_cast<void>(last);
      },
      ::testing::ExitedWithCode(1), "a.safetensors' was shortened by another program while it was in use");
}

}  // namespace
}  // namespace wick::testing
