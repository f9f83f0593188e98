#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wick {

/// One value inside a JSON file, with its path, so that every complaint names the file and the field. A cheap
/// value that keeps the document alive. A key whose value is null counts as absent for `find` and `at`.
class JsonField {
 public:
  /// Throws one type of error with this message.
  using Thrower = void (*)(const std::string& message);
  template <typename E>
  static void throw_as(const std::string& message) {
    throw E(message);
  }

  /// The document `root` of `file`. What is wrong with its values is thrown by `thrower`.
  JsonField(nlohmann::json root, std::string_view file, Thrower thrower);

  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  /// Null, false, or an empty string, list or object.
  bool is_unset() const;

  /// Whether an object has the key, be its value null or not.
  bool has(const std::string& key) const;
  std::optional<JsonField> find(const std::string& key) const;
  JsonField at(const std::string& key) const;
  std::vector<JsonField> elements() const;
  std::vector<std::pair<std::string, JsonField>> members() const;

  const std::string& string() const;
  bool boolean() const;
  /// Integer in [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  double number() const;
  std::vector<std::string> strings() const;

  std::int64_t integer_or(const std::string& key, std::int64_t otherwise, std::int64_t low,
                          std::int64_t high) const;
  double number_or(const std::string& key, double otherwise) const;
  bool boolean_or(const std::string& key, bool otherwise) const;
  std::string string_or(const std::string& key, const std::string& otherwise) const;

  /// The value as JSON text, cut short when it is long.
  std::string text() const;
  /// Throws "<file>: '<path>' <complaint>".
  [[noreturn]] void refuse(std::string_view complaint) const;

 private:
  struct Document;
  JsonField(std::shared_ptr<const Document> document, const nlohmann::json* value, std::string path);
  const nlohmann::json& object() const;

  std::shared_ptr<const Document> document_;
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace wick
