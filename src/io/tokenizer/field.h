#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wick::tokenizer {

/// One value inside a JSON file, with its path, so that every complaint names file and field.
/// A cheap value; a key with the value null counts as absent.
class Field {
 public:
  /// Parses a file's content. Throws FormatError for malformed JSON, nesting deeper than 64, or above 256
  /// MiB.
  static Field parse(std::string_view json, std::string_view file);
  /// Reads and parses a regular file. Also throws FileError.
  static Field parse_file(const std::filesystem::path& path);

  bool is_object() const;
  bool is_array() const;
  bool is_string() const;

  /// Whether the key is there with the value null.
  bool has_null(const std::string& key) const;
  std::optional<Field> find(const std::string& key) const;
  Field at(const std::string& key) const;
  /// The length of an array, and its element at `index` < size().
  std::size_t size() const;
  Field element(std::size_t index) const;
  std::vector<Field> elements() const;
  std::vector<std::pair<std::string, Field>> members() const;

  const std::string& string() const;
  bool boolean() const;
  /// Integer in [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  double number() const;
  /// A string of exactly one character.
  char32_t character() const;
  bool boolean_or(const std::string& key, bool otherwise) const;

  /// Throws FormatError "<file>: <path> <complaint>".
  [[noreturn]] void malformed(std::string_view complaint) const;
  /// Throws ConfigError in the same form.
  [[noreturn]] void unsupported(std::string_view complaint) const;

  const std::string& path() const { return path_; }
  const std::string& file() const { return *file_; }

 private:
  Field(std::shared_ptr<const nlohmann::json> root, const nlohmann::json* value,
        std::shared_ptr<const std::string> file, std::string path);
  Field child(const nlohmann::json& value, std::string_view suffix) const;

  std::shared_ptr<const nlohmann::json> root_;
  const nlohmann::json* value_;
  std::shared_ptr<const std::string> file_;
  std::string path_;
};

}  // namespace wick::tokenizer
