#include "io/tokenizer/field.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/tokenizer/unicode.h"
#include "wick/error.h"

namespace wick::tokenizer {
namespace {

constexpr std::size_t max_bytes = std::size_t{256} << 20;
constexpr int max_depth = 64;

/// Deepest nesting of brackets outside strings; needs no valid JSON and no recursion.
int nesting_depth(std::string_view json) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Field::Field(std::shared_ptr<const nlohmann::json> root, const nlohmann::json* value,
             std::shared_ptr<const std::string> file, std::string path)
    : root_(std::move(root)), value_(value), file_(std::move(file)), path_(std::move(path)) {}

Field Field::parse(std::string_view json, std::string_view file) {
  if (json.size() > max_bytes) {
    throw FormatError(
        fmt::format("{}: more than the {} bytes that a tokenizer's JSON file may have.", file, max_bytes));
  }
  if (nesting_depth(json) > max_depth) {
    throw FormatError(fmt::format("{}: values are nested more than {} deep.", file, max_depth));
  }
  try {
    auto root = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
    const nlohmann::json* value = root.get();
    return Field(std::move(root), value, std::make_shared<const std::string>(file), "");
  } catch (const nlohmann::json::exception& e) {
    throw FormatError(fmt::format("{}: not valid JSON: {}.", file, e.what()));
  }
}

Field Field::parse_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw FileError(fmt::format("{}: no such file, or not a regular file.", path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw FileError(fmt::format("{}: the file cannot be opened for reading.", path.string()));
  std::string content;
  std::array<char, 65536> block{};
  // One byte beyond the limit is enough for parse to refuse.
  while (content.size() <= max_bytes && stream.read(block.data(), block.size()).gcount() > 0) {
    content.append(block.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) throw FileError(fmt::format("{}: reading failed.", path.string()));
  return parse(content, path.string());
}

Field Field::child(const nlohmann::json& value, std::string_view suffix) const {
  return Field(root_, &value, file_,
               path_.empty() ? std::string(suffix) : fmt::format("{}.{}", path_, suffix));
}

bool Field::is_object() const { return value_->is_object(); }
bool Field::is_array() const { return value_->is_array(); }
bool Field::is_string() const { return value_->is_string(); }

bool Field::has_null(const std::string& key) const {
  const auto it = value_->find(key);
  return it != value_->end() && it->is_null();
}

std::optional<Field> Field::find(const std::string& key) const {
  if (!is_object()) malformed(fmt::format("must be an object, but is {}", value_->type_name()));
  const auto it = value_->find(key);
  if (it == value_->end() || it->is_null()) return std::nullopt;
  return child(*it, key);
}

Field Field::at(const std::string& key) const {
  auto field = find(key);
  if (!field) malformed(fmt::format("has no '{}'", key));
  return *std::move(field);
}

std::size_t Field::size() const {
  if (!is_array()) malformed(fmt::format("must be an array, but is {}", value_->type_name()));
  return value_->size();
}

Field Field::element(std::size_t index) const {
  return Field(root_, &(*value_)[index], file_, fmt::format("{}[{}]", path_, index));
}

std::vector<Field> Field::elements() const {
  std::vector<Field> out;
  out.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) out.push_back(element(i));
  return out;
}

std::vector<std::pair<std::string, Field>> Field::members() const {
  if (!is_object()) malformed(fmt::format("must be an object, but is {}", value_->type_name()));
  std::vector<std::pair<std::string, Field>> out;
  out.reserve(value_->size());
  for (const auto& [key, value] : value_->items()) out.emplace_back(key, child(value, key));
  return out;
}

const std::string& Field::string() const {
  if (!is_string()) malformed(fmt::format("must be a string, but is {}", value_->type_name()));
  return value_->get_ref<const std::string&>();
}

bool Field::boolean() const {
  if (!value_->is_boolean()) malformed(fmt::format("must be true or false, but is {}", value_->type_name()));
  return value_->get<bool>();
}

std::int64_t Field::integer(std::int64_t low, std::int64_t high) const {
  if (!value_->is_number_integer()) malformed(fmt::format("must be an integer, but is {}", value_->dump()));
  const bool too_large =
      value_->is_number_unsigned() &&
      value_->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const auto value = value_->get<std::int64_t>();
  if (too_large || value < low || value > high) {
    malformed(fmt::format("must be between {} and {}, but is {}", low, high, value_->dump()));
  }
  return value;
}

double Field::number() const {
  if (!value_->is_number()) malformed(fmt::format("must be a number, but is {}", value_->type_name()));
  return value_->get<double>();
}

char32_t Field::character() const {
  const std::string& text = string();
  if (text.empty()) malformed("must be one character, but is empty");
  const CodePoint c = code_point_at(text, 0);
  if (c.size != text.size()) malformed(fmt::format("must be one character, but is '{}'", text));
  return c.value;
}

bool Field::boolean_or(const std::string& key, bool otherwise) const {
  const auto field = find(key);
  return field ? field->boolean() : otherwise;
}

void Field::malformed(std::string_view complaint) const {
  throw FormatError(fmt::format("{}: {} {}.", *file_, path_.empty() ? "the file's value" : path_, complaint));
}

void Field::unsupported(std::string_view complaint) const {
  throw ConfigError(fmt::format("{}: {} {}.", *file_, path_.empty() ? "the file's value" : path_, complaint));
}

}  // namespace wick::tokenizer
