#include "io/tokenizer/text_ends.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "io/tokenizer/field.h"

namespace wick::tokenizer {
namespace {

std::optional<Field> parse_if_present(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  return Field::parse_file(path);
}

/// The id of the token that `file` names under `key`, as a string or as an object with "content".
std::optional<Id> named_token(const std::optional<Field>& file, const std::string& key,
                              const Vocabulary& vocabulary) {
  if (!file) return std::nullopt;
  const auto field = file->find(key);
  if (!field) return std::nullopt;
  const Field name = field->is_object() ? field->at("content") : *field;
  const auto id = vocabulary.find(name.string());
  if (!id) name.malformed(fmt::format("is '{}', which tokenizer.json lacks", name.string()));
  return id;
}

/// One id or a list of them.
std::vector<Id> listed_ids(const std::optional<Field>& file, const std::string& key) {
  if (!file) return {};
  const auto field = file->find(key);
  if (!field) return {};
  std::vector<Id> ids;
  const auto add = [&](const Field& id) {
    // Some configurations write -1 for "none".
    const auto value = id.integer(-1, std::numeric_limits<Id>::max());
    if (value >= 0) ids.push_back(static_cast<Id>(value));
  };
  if (field->is_array()) {
    for (const Field& id : field->elements()) add(id);
  } else {
    add(*field);
  }
  return ids;
}

}  // namespace

TextEnds read_text_ends(const std::filesystem::path& model_dir, const Vocabulary& vocabulary) {
  const auto tokenizer_config = parse_if_present(model_dir / "tokenizer_config.json");
  const auto special_tokens_map = parse_if_present(model_dir / "special_tokens_map.json");
  const auto generation_config = parse_if_present(model_dir / "generation_config.json");
  const auto config = parse_if_present(model_dir / "config.json");

  const auto resolve = [&](const std::string& token_key, const std::string& id_key) -> std::optional<Id> {
    for (const auto* file : {&tokenizer_config, &special_tokens_map}) {
      if (const auto id = named_token(*file, token_key, vocabulary)) return id;
    }
    // A tokenizer_config.json that says null means that there is none.
    if (tokenizer_config && tokenizer_config->has_null(token_key)) return std::nullopt;
    for (const auto* file : {&generation_config, &config}) {
      const auto ids = listed_ids(*file, id_key);
      if (!ids.empty()) return ids.front();
    }
    return std::nullopt;
  };

  TextEnds ends;
  ends.bos = resolve("bos_token", "bos_token_id");
  ends.eos = resolve("eos_token", "eos_token_id");
  ends.all_eos = listed_ids(generation_config, "eos_token_id");
  if (ends.all_eos.empty()) ends.all_eos = listed_ids(config, "eos_token_id");
  if (ends.eos) ends.all_eos.push_back(*ends.eos);
  std::sort(ends.all_eos.begin(), ends.all_eos.end());
  ends.all_eos.erase(std::unique(ends.all_eos.begin(), ends.all_eos.end()), ends.all_eos.end());
  return ends;
}

}  // namespace wick::tokenizer
