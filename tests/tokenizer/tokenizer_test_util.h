#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wick/tokenizer.h"

namespace wick::test {

using Ids = std::vector<std::int32_t>;

inline std::filesystem::path data_dir() {
  return std::filesystem::path(WICK_SOURCE_DIR) / "tests/tokenizer/data";
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  return nlohmann::json::parse(stream);
}

/// A tokenizer.json that is valid; tests change what they are about.
inline nlohmann::json small_document() {
  return nlohmann::json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "ab": 2, "abab": 3, " ": 4}, "merges": [["a", "b"], "ab ab"]}})");
}

inline Tokenizer load(const nlohmann::json& document) { return Tokenizer::from_json(document.dump()); }

/// The message of the `E` that loading `document` throws.
template <class E>
std::string load_error(const nlohmann::json& document) {
  try {
    load(document);
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "loading did not throw the expected type";
  return "";
}

/// All ids through a StreamDecoder, its pieces joined.
inline std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special = true) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const auto id : ids) text += decoder.push(id);
  return text + decoder.flush();
}

}  // namespace wick::test
