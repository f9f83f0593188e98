#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tokenizer/field.h"

namespace wick::tokenizer {

using Id = std::int32_t;

/// The strings and ids of the model and the added tokens together.
class Vocabulary {
 public:
  /// Adds the model's object of token to id. Throws FormatError for an id that is taken or out of bounds.
  void add_model_tokens(const Field& vocab);
  /// Adds one token with an id that `where` gave. A token that is there already must have this id.
  void add(const std::string& token, Id id, const Field& where);
  void mark_special(Id id);

  /// Highest id + 1.
  Id size() const { return static_cast<Id>(entries_.size()); }
  std::optional<Id> find(std::string_view token) const;
  /// As find, but not for tokens that were only added to the model's.
  std::optional<Id> find_in_model(std::string_view token) const;
  bool contains(Id id) const { return id >= 0 && id < size() && entries_[id].used; }
  const std::string& token(Id id) const { return entries_[id].token; }
  bool is_special(Id id) const { return contains(id) && entries_[id].special; }

  /// Largest id that `where`, which adds `count` tokens, may hold: vocabularies may have gaps, but not vast
  /// ones.
  Id id_bound(std::size_t count) const;

 private:
  struct Entry {
    std::string token;
    bool used = false;
    bool in_model = false;
    bool special = false;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  std::vector<Entry> entries_;
  std::unordered_map<std::string, Id, Hash, std::equal_to<>> ids_;
};

}  // namespace wick::tokenizer
