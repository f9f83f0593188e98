#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/dataset_text.h"
#include "wick/error.h"

namespace wick {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_line = std::size_t{32} << 20;
constexpr int deepest_nesting = 64;
constexpr std::size_t most_keys_named = 6;

/// Reads one line without building a tree of it, so that memory stays proportional to the wanted strings
/// whatever else the line holds.
class RowParser {
 public:
  struct Field {
    const char* key;
    std::optional<std::string> value = std::nullopt;
  };

  explicit RowParser(std::string place) : place_(std::move(place)) {}

  Field text{"text"};
  Field prompt{"prompt"};
  Field completion{"completion"};

  void parse(std::string_view line) {
    line_size_ = line.size();
    Json::sax_parse(line.begin(), line.end(), this);
  }
  /// The keys of the row, for a message.
  std::string keys() const {
    std::string list;
    for (const std::string& key : keys_) list += (list.empty() ? "" : ", ") + key;
    if (key_count_ > keys_.size()) list += ", ...";
    return list.empty() ? "none" : list;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {}", place_, what));
  }

  // What nlohmann::json::sax_parse calls.
  bool null() { return scalar("null"); }
  bool boolean(bool) { return scalar("a boolean"); }
  bool number_integer(Json::number_integer_t) { return scalar("a number"); }
  bool number_unsigned(Json::number_unsigned_t) { return scalar("a number"); }
  bool number_float(Json::number_float_t, const std::string&) { return scalar("a number"); }
  bool binary(Json::binary_t&) { return scalar("binary data"); }
  bool string(std::string& value) {
    if (depth_ == 1 && field_) {
      if (field_->value) fail(fmt::format("the key \"{}\" occurs twice", field_->key));
      field_->value = std::move(value);
      return true;
    }
    return scalar("a string");
  }
  bool start_object(std::size_t) {
    if (depth_ > 0) refuse_field("an object");
    return enter();
  }
  bool start_array(std::size_t) {
    if (depth_ == 0) fail("must be a JSON object, not an array");
    refuse_field("an array");
    return enter();
  }
  bool end_object() { return leave(); }
  bool end_array() { return leave(); }
  bool key(std::string& name) {
    if (depth_ != 1) return true;
    field_ = nullptr;
    for (Field* field : {&text, &prompt, &completion})
      if (name == field->key) field_ = field;
    if (++key_count_ <= most_keys_named) keys_.push_back(quoted(name));
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    if (position > line_size_) fail("the line ends in the middle of its JSON object; is the file cut off?");
    fail(fmt::format("byte {} of the line is not valid JSON", position));
  }

 private:
  bool scalar(const char* type) {
    if (depth_ == 0) fail(fmt::format("must be a JSON object, not {}", type));
    refuse_field(type);
    return true;
  }
  void refuse_field(const char* type) const {
    if (depth_ == 1 && field_) fail(fmt::format("\"{}\" must be a string, not {}", field_->key, type));
  }
  bool enter() {
    if (++depth_ > deepest_nesting) fail(fmt::format("is nested deeper than {} levels", deepest_nesting));
    return true;
  }
  bool leave() {
    --depth_;
    return true;
  }
  static std::string quoted(const std::string& name) {
    constexpr std::size_t most = 40;
    return Json(name.substr(0, most)).dump(-1, ' ', true, Json::error_handler_t::replace);
  }

  std::string place_;
  std::size_t line_size_ = 0;
  int depth_ = 0;
  Field* field_ = nullptr;  // that the next value at depth 1 belongs to
  std::vector<std::string> keys_;
  std::size_t key_count_ = 0;
};

void add_row(std::string_view line, const std::string& place, DocumentWriter& writer) {
  RowParser row(place);
  row.parse(line);
  const std::optional<std::string>& text = row.text.value;
  const std::optional<std::string>& prompt = row.prompt.value;
  const std::optional<std::string>& completion = row.completion.value;
  if (text && (prompt || completion)) row.fail("has \"text\" and also \"prompt\" or \"completion\"");
  if (prompt && !completion) row.fail("has \"prompt\", but no \"completion\"");
  if (completion && !prompt) row.fail("has \"completion\", but no \"prompt\"");
  if (text)
    writer.add_text(*text, place);
  else if (prompt)
    writer.add_prompt_and_completion(*prompt, *completion, place);
  else
    row.fail(
        fmt::format("needs the key \"text\", or \"prompt\" and \"completion\"; its keys: {}", row.keys()));
}

}  // namespace

void read_jsonl(std::string_view content, const std::string& name, const TextEncoder& encoder,
                const DatasetOptions& options, DatasetStorage& storage) {
  DocumentWriter writer(encoder, options, storage);
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  for (std::size_t line_number = 1; !content.empty(); ++line_number) {
    const std::string place = fmt::format("{}:{}", name, line_number);
    const std::size_t newline = content.substr(0, longest_line + 1).find('\n');
    if (newline == std::string_view::npos && content.size() > longest_line)
      throw DataError(
          fmt::format("{}: the line is longer than {} MiB; split the document", place, longest_line >> 20));
    const std::string_view line = content.substr(0, newline);
    content.remove_prefix(newline == std::string_view::npos ? content.size() : newline + 1);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) add_row(line, place, writer);
  }
}

}  // namespace wick
