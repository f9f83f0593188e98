#include "io/json_field.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/printable.h"
#include "wick/error.h"

namespace wick {

struct JsonField::Document {
  nlohmann::json root;
  std::string file;
  Thrower thrower;
};

JsonField::JsonField(nlohmann::json root, std::string_view file, Thrower thrower)
    : document_(std::make_shared<const Document>(Document{std::move(root), std::string(file), thrower})),
      value_(&document_->root) {}

JsonField::JsonField(std::shared_ptr<const Document> document, const nlohmann::json* value, std::string path)
    : document_(std::move(document)), value_(value), path_(std::move(path)) {}

bool JsonField::is_object() const { return value_->is_object(); }
bool JsonField::is_array() const { return value_->is_array(); }
bool JsonField::is_string() const { return value_->is_string(); }
bool JsonField::is_unset() const {
  if (is_string()) return string().empty();
  return value_->empty() || (value_->is_boolean() && !boolean());
}

const nlohmann::json& JsonField::object() const {
  if (!is_object()) refuse(fmt::format("must be an object, not {}", text()));
  return *value_;
}

bool JsonField::has(const std::string& key) const { return object().contains(key); }

std::optional<JsonField> JsonField::find(const std::string& key) const {
  const auto found = object().find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return JsonField(document_, &*found, path_.empty() ? key : path_ + '.' + key);
}

JsonField JsonField::at(const std::string& key) const {
  auto field = find(key);
  if (!field) refuse(fmt::format("must have a value for '{}'", key));
  return *std::move(field);
}

std::vector<JsonField> JsonField::elements() const {
  if (!is_array()) refuse(fmt::format("must be a list, not {}", text()));
  std::vector<JsonField> fields;
  fields.reserve(value_->size());
  for (const auto& element : *value_) {
    fields.push_back(JsonField(document_, &element, fmt::format("{}[{}]", path_, fields.size())));
  }
  return fields;
}

std::vector<std::pair<std::string, JsonField>> JsonField::members() const {
  std::vector<std::pair<std::string, JsonField>> fields;
  for (const auto& [key, value] : object().items()) {
    fields.emplace_back(key, JsonField(document_, &value, path_.empty() ? key : path_ + '.' + key));
  }
  return fields;
}

const std::string& JsonField::string() const {
  if (!is_string()) refuse(fmt::format("must be a string, not {}", text()));
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) refuse(fmt::format("must be true or false, not {}", text()));
  return value_->get<bool>();
}

std::int64_t JsonField::integer(std::int64_t low, std::int64_t high) const {
  if (!value_->is_number_integer()) refuse(fmt::format("must be a whole number, not {}", text()));
  const auto value = value_->get<std::int64_t>();
  const bool wraps = value_->is_number_unsigned() && value < 0;
  if (wraps || value < low || value > high)
    refuse(fmt::format("must be from {} to {}, not {}", low, high, text()));
  return value;
}

double JsonField::number() const {
  if (!value_->is_number()) refuse(fmt::format("must be a number, not {}", text()));
  return value_->get<double>();
}

std::vector<std::string> JsonField::strings() const {
  std::vector<std::string> values;
  for (const JsonField& element : elements()) values.push_back(element.string());
  return values;
}

std::int64_t JsonField::integer_or(const std::string& key, std::int64_t otherwise, std::int64_t low,
                                   std::int64_t high) const {
  const auto field = find(key);
  return field ? field->integer(low, high) : otherwise;
}

double JsonField::number_or(const std::string& key, double otherwise) const {
  const auto field = find(key);
  return field ? field->number() : otherwise;
}

bool JsonField::boolean_or(const std::string& key, bool otherwise) const {
  const auto field = find(key);
  return field ? field->boolean() : otherwise;
}

std::string JsonField::string_or(const std::string& key, const std::string& otherwise) const {
  const auto field = find(key);
  return field ? field->string() : otherwise;
}

std::string JsonField::text() const { return printable(value_->dump(), 80); }

void JsonField::refuse(std::string_view complaint) const {
  const std::string subject = path_.empty() ? "the file's value" : fmt::format("'{}'", printable(path_));
  document_->thrower(fmt::format("{}: {} {}", document_->file, subject, complaint));
  throw InternalError("a JsonField's thrower must throw");
}

}  // namespace wick
