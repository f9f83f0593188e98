#include "io/tokenizer/post_processor.h"

#include <fmt/format.h>

#include <string>

namespace wick::tokenizer {
namespace {

void append_special(const Field& piece, const Field& special_tokens, const Vocabulary& vocabulary,
                    std::vector<Id>& out) {
  const Field name = piece.at("id");
  const auto token = special_tokens.find(name.string());
  if (!token) name.malformed(fmt::format("names '{}', which special_tokens lacks", name.string()));
  for (const Field& id_field : token->at("ids").elements()) {
    const auto id = static_cast<Id>(id_field.integer(0, vocabulary.size() - 1));
    if (!vocabulary.contains(id)) id_field.malformed(fmt::format("is {}, an id that no token has", id));
    out.push_back(id);
  }
}

void read_template(const Field& field, const Vocabulary& vocabulary, PostProcessor& out) {
  const Field pieces = field.at("single");
  const Field special_tokens = field.at("special_tokens");
  bool seen_text = false;
  for (const Field& piece : pieces.elements()) {
    if (const auto special = piece.find("SpecialToken")) {
      append_special(*special, special_tokens, vocabulary, seen_text ? out.after : out.before);
      continue;
    }
    const Field name = piece.at("Sequence").at("id");
    if (name.string() != "A" || seen_text) name.malformed("must be 'A', once");
    seen_text = true;
  }
  if (!seen_text) pieces.malformed("must hold the sequence 'A'");
}

/// Returns whether a template was read.
bool read_into(const Field& field, const Vocabulary& vocabulary, bool had_template, PostProcessor& out) {
  const Field type = field.at("type");
  const std::string& name = type.string();
  if (name == "ByteLevel") return had_template;  // concerns offsets, which Wick does not compute
  if (name == "Sequence") {
    for (const Field& part : field.at("processors").elements()) {
      had_template = read_into(part, vocabulary, had_template, out);
    }
    return had_template;
  }
  if (name != "TemplateProcessing") {
    type.unsupported(
        fmt::format("'{}' is not supported; these are: TemplateProcessing, ByteLevel, Sequence", name));
  }
  if (had_template) field.unsupported("is a second TemplateProcessing");
  read_template(field, vocabulary, out);
  return true;
}

}  // namespace

PostProcessor read_post_processor(const std::optional<Field>& field, const Vocabulary& vocabulary) {
  PostProcessor processor;
  if (field) read_into(*field, vocabulary, false, processor);
  return processor;
}

}  // namespace wick::tokenizer
