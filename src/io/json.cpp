#include "io/json.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "io/printable.h"
#include "io/read_file.h"
#include "wick/error.h"

namespace wick {
namespace {

/// The parser's message without its error number and without the token, which may be as long as the file.
std::string reason_of(const nlohmann::json::exception& error) {
  std::string_view text = error.what();
  if (const auto bracket = text.find("] "); bracket != text.npos) text.remove_prefix(bracket + 2);
  text = text.substr(0, text.find("; last read"));
  return printable(text, 200);
}

/// Builds the value, watching depth and keys.
class ValueBuilder final : public JsonEvents {
 public:
  using JsonEvents::JsonEvents;
  nlohmann::json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(nlohmann::json::object()); }
  bool start_array(std::size_t) override { return open(nlohmann::json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& key) override {
    auto& object = open_.back()->get_ref<nlohmann::json::object_t&>();
    const auto [place, is_new] = object.emplace(std::move(key), nullptr);
    if (!is_new) refuse(fmt::format("an object has the key '{}' twice", printable(place->first)));
    member_ = &place->second;
    return true;
  }

 private:
  bool add(nlohmann::json value) {
    place(std::move(value));
    return true;
  }
  bool open(nlohmann::json container) {
    if (open_.size() == max_json_depth)
      refuse(fmt::format("values are nested more than {} deep", max_json_depth));
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  nlohmann::json* place(nlohmann::json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_object()) {
      *member_ = std::move(value);
      return member_;
    }
    auto& array = open_.back()->get_ref<nlohmann::json::array_t&>();
    array.push_back(std::move(value));
    return &array.back();
  }

  nlohmann::json root_;
  std::vector<nlohmann::json*>
      open_;  // containers around the next value; a parent stays put while a child is open
  nlohmann::json* member_ = nullptr;  // the last key's value
};

}  // namespace

void JsonEvents::read(std::string_view text) {
  nlohmann::json::sax_parse(text, static_cast<nlohmann::json::json_sax_t*>(this));
}

void JsonEvents::refuse(const std::string& complaint) const {
  throw FormatError(fmt::format("{}: {}", name_, complaint));
}

bool JsonEvents::binary(nlohmann::json::binary_t&) { throw InternalError("JSON text has no binary values"); }

bool JsonEvents::parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) {
  refuse(fmt::format("not valid JSON: {}", reason_of(error)));
}

nlohmann::json parse_json(std::string_view text, std::string_view name) {
  ValueBuilder builder(name);
  builder.read(text);
  return builder.take();
}

nlohmann::json read_json_file(const std::filesystem::path& path, std::size_t max_bytes) {
  return parse_json(read_file(path, max_bytes), path.string());
}

}  // namespace wick
