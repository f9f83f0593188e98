#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace wick {

/// Values nested deeper than this are refused.
inline constexpr std::size_t max_json_depth = 64;

/// Parses a JSON document from a file that nobody vouches for. `name` stands for the file in errors. Throws
/// FormatError, with line and column, for what is not JSON or not UTF-8; and for nesting deeper than
/// `max_json_depth` and for a key that an object has twice. Takes memory and time in proportion to the text,
/// and never recurses.
nlohmann::json parse_json(std::string_view text, std::string_view name);

/// Reads and parses a file of at most `max_bytes`. Throws FileError besides.
nlohmann::json read_json_file(const std::filesystem::path& path, std::size_t max_bytes);

/// Base of handlers that take a document as a stream of events, without building values. Handlers throw to
/// refuse.
class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonEvents(std::string_view name) : name_(name) {}
  /// Throws FormatError as `parse_json` does for what is not JSON; depth and keys are the handler's to check.
  void read(std::string_view text);

 protected:
  /// Throws FormatError "<name>: <complaint>".
  [[noreturn]] void refuse(const std::string& complaint) const;
  const std::string& name() const noexcept { return name_; }

 private:
  bool binary(nlohmann::json::binary_t& value) final;
  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) final;
  std::string name_;
};

}  // namespace wick
