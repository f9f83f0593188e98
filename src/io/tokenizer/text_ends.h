#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "io/tokenizer/vocabulary.h"

namespace wick::tokenizer {

/// The ids that begin and end a text.
struct TextEnds {
  std::optional<Id> bos;
  std::optional<Id> eos;
  std::vector<Id> all_eos;  // ascending, holds eos
};

/// Reads them from the files of a model directory, where they are there. A token named by
/// tokenizer_config.json, or else by special_tokens_map.json, goes before the ids of generation_config.json,
/// and these before config.json's.
TextEnds read_text_ends(const std::filesystem::path& model_dir, const Vocabulary& vocabulary);

}  // namespace wick::tokenizer
