#include "io/tokenizer/vocabulary.h"

#include <fmt/format.h>

namespace wick::tokenizer {
namespace {

constexpr std::size_t widest_gap = 65536;
constexpr std::size_t max_tokens = 16'000'000;

}  // namespace

Id Vocabulary::id_bound(std::size_t count) const {
  return static_cast<Id>(2 * (ids_.size() + count) + widest_gap);
}

void Vocabulary::add_model_tokens(const Field& vocab) {
  const auto members = vocab.members();
  if (members.size() > max_tokens) vocab.unsupported(fmt::format("holds more than {} tokens", max_tokens));
  const Id bound = id_bound(members.size());
  ids_.reserve(members.size());
  for (const auto& [token, id] : members) {
    const auto value = static_cast<Id>(id.integer(0, bound));
    add(token, value, id);
    entries_[value].in_model = true;
  }
}

void Vocabulary::add(const std::string& token, Id id, const Field& where) {
  if (const auto known = find(token)) {
    if (*known == id) return;
    where.malformed(fmt::format("gives '{}' the id {}, but it has the id {}", token, id, *known));
  }
  if (contains(id)) {
    where.malformed(fmt::format("gives '{}' the id {}, which '{}' has", token, id, entries_[id].token));
  }
  if (id >= size()) entries_.resize(static_cast<std::size_t>(id) + 1);
  entries_[id] = {token, true, false, false};
  ids_.emplace(token, id);
}

void Vocabulary::mark_special(Id id) { entries_[id].special = true; }

std::optional<Id> Vocabulary::find(std::string_view token) const {
  const auto it = ids_.find(token);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

std::optional<Id> Vocabulary::find_in_model(std::string_view token) const {
  const auto id = find(token);
  return id && entries_[*id].in_model ? id : std::nullopt;
}

}  // namespace wick::tokenizer
