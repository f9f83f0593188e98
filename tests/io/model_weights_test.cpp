#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "wick/error.h"
#include "wick/safetensors.h"

namespace wick::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* index_name = "model.safetensors.index.json";

/// A file of one-element tensors.
void write_shard(const fs::path& path, const std::vector<std::string>& names) {
  const float value = 1;
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names) {
    tensors.push_back({name, DType::f32, {1}, std::as_bytes(std::span(&value, 1))});
  }
  write_safetensors(path, tensors);
}

template <typename E>
std::string complaint(const fs::path& directory) {
  return error_text<E>([&] { open_model_weights(directory); });
}

TEST(ModelWeights, ShardsLookLikeOneCollection) {
  const TemporaryDirectory directory;
  write_shard(directory / "s1.safetensors", {"a", "c"});
  write_shard(directory / "s2.safetensors", {"b", "unlisted"});
  write_text(directory / index_name, R"({"metadata":{"total_size":12},"weight_map":)"
                                     R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s1.safetensors"}})");
  const auto weights = open_model_weights(directory.path());
  std::vector<std::string> names;
  for (const TensorInfo& tensor : weights.tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", "c", "unlisted"}));
  EXPECT_EQ(weights.at("b").shape, Shape{1});
  EXPECT_EQ(weights.metadata().at("format"), "pt");
  EXPECT_EQ(error_text<FormatError>([&] { weights.at("d"); }),
            directory.path().string() + ": has no tensor 'd'");
}

TEST(ModelWeights, ASingleFileGoesFirst) {
  const TemporaryDirectory directory;
  write_shard(directory / "model.safetensors", {"a"});
  write_text(directory / index_name, "not read");
  EXPECT_EQ(open_model_weights(directory.path()).tensors().size(), 1u);
}

TEST(ModelWeights, SaysWhatIsMissing) {
  const TemporaryDirectory directory;
  const std::string path = directory.path().string();
  EXPECT_EQ(
      complaint<FileError>(directory.path()),
      "'" + path +
          "' has neither model.safetensors nor model.safetensors.index.json; weights in other formats must "
          "be converted to safetensors first");
  EXPECT_EQ(complaint<FileError>(directory / "none"),
            "cannot open the model directory '" + path + "/none': No such file or directory");

  write_shard(directory / "s1.safetensors", {"a"});
  const std::string index = path + "/" + index_name;
  write_text(index, R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s3.safetensors"}})");
  EXPECT_EQ(complaint<FormatError>(directory.path()),
            index + ": these shards are missing:\n  s2.safetensors\n  s3.safetensors");
  write_text(index, R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s1.safetensors"}})");
  EXPECT_EQ(complaint<FormatError>(directory.path()),
            index +
                ": these tensors are not in the shards that should have them:\n  b (s1.safetensors)\n  c "
                "(s1.safetensors)");
}

TEST(ModelWeights, ATensorInTwoShardsIsRefused) {
  const TemporaryDirectory directory;
  write_shard(directory / "s1.safetensors", {"a", "b"});
  write_shard(directory / "s2.safetensors", {"b"});
  write_text(directory / index_name, R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
  EXPECT_EQ(complaint<FormatError>(directory.path()),
            (directory / index_name).string() + ": has tensor 'b' twice");
}

TEST(ModelWeights, ShardsOutsideTheDirectoryAreRefused) {
  const TemporaryDirectory outside;
  write_shard(outside / "s.safetensors", {"a"});
  const TemporaryDirectory directory;
  const std::string index = (directory / index_name).string();
  const auto complaint_of = [&](const std::string& shard) {
    write_text(index, R"({"weight_map":{"a":")" + shard + R"("}})");
    return complaint<FormatError>(directory.path());
  };
  const std::string absolute = (outside / "s.safetensors").string();
  const auto refusal = [&](const std::string& shard) {
    return index + ": 'weight_map.a' must name a file inside the model's directory, not '" + shard + "'";
  };
  EXPECT_EQ(complaint_of(absolute), refusal(absolute));
  EXPECT_EQ(complaint_of("../s.safetensors"), refusal("../s.safetensors"));
  EXPECT_EQ(complaint_of("x/../../s.safetensors"), refusal("x/../../s.safetensors"));
  EXPECT_EQ(complaint_of(""), refusal(""));
  EXPECT_EQ(complaint_of("a\\u0000b"), refusal("a?b"));

  fs::create_symlink(absolute, directory / "link.safetensors");
  EXPECT_EQ(complaint_of("link.safetensors"),
            index + ": shard 'link.safetensors' is a link that leads out of the model's directory, to '" +
                fs::canonical(absolute).string() + "'");
  fs::create_directory_symlink(outside.path(), directory / "linked");
  EXPECT_EQ(complaint_of("linked/s.safetensors"),
            index + ": shard 'linked/s.safetensors' is a link that leads out of the model's directory, to '" +
                fs::canonical(absolute).string() + "'");
}

TEST(ModelWeights, LinksInsideTheDirectoryAndIntoACacheAreFine) {
  const TemporaryDirectory cache;
  const fs::path snapshot = cache / "snapshots/0123";
  fs::create_directories(snapshot);
  fs::create_directories(cache / "blobs");
  write_shard(cache / "blobs/abc", {"a"});
  write_shard(snapshot / "s2.safetensors", {"b"});
  fs::create_symlink("../../blobs/abc", snapshot / "s1.safetensors");
  fs::create_symlink("s2.safetensors", snapshot / "s3.safetensors");
  write_text(snapshot / index_name, R"({"weight_map":{"a":"s1.safetensors","b":"s3.safetensors"}})");
  EXPECT_EQ(open_model_weights(snapshot).tensors().size(), 2u);
}

TEST(ModelWeights, MalformedIndexesAreRefused) {
  const TemporaryDirectory directory;
  const std::string index = (directory / index_name).string();
  const auto complaint_of = [&](std::string_view text) {
    write_text(index, text);
    return complaint<FormatError>(directory.path());
  };
  EXPECT_EQ(complaint_of("{}"), index + ": the file's value must have a value for 'weight_map'");
  EXPECT_EQ(complaint_of(R"({"weight_map":{}})"), index + ": 'weight_map' names no tensor");
  EXPECT_EQ(complaint_of(R"({"weight_map":[1]})"), index + ": 'weight_map' must be an object, not [1]");
  EXPECT_EQ(complaint_of(R"({"weight_map":{"a":1}})"), index + ": 'weight_map.a' must be a string, not 1");
  EXPECT_EQ(complaint_of(R"({"weight_map":{"a":"x","a":"y"}})"), index + ": an object has the key 'a' twice");
}

}  // namespace
}  // namespace wick::testing
