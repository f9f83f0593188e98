#include "io/tokenizer/parts.h"

#include <fmt/format.h>

#include <utility>

namespace wick::tokenizer {
namespace {

void check_version(const Field& root) {
  const auto version = root.find("version");
  if (version && version->string() != "1.0") {
    version->unsupported(fmt::format("'{}' is not supported; this is: 1.0", version->string()));
  }
}

/// Old files leave out the type of a BPE model; one with merges is no other.
void check_model_type(const Field& model) {
  const auto type = model.find("type");
  if (!type && !model.find("merges")) model.malformed("has no 'type'");
  if (type && type->string() != "BPE") {
    type->unsupported(fmt::format("'{}' is not supported; this is: BPE", type->string()));
  }
}

}  // namespace

Parts Parts::read(const Field& root) {
  check_version(root);
  const Field model = root.at("model");
  check_model_type(model);

  Parts parts;
  parts.vocabulary.add_model_tokens(model.at("vocab"));
  Growth growth;
  parts.normalizers = read_normalizers(root.find("normalizer"), growth);
  parts.added_tokens = AddedTokens::read(root.find("added_tokens"), parts.normalizers, parts.vocabulary);
  parts.pre_tokenizers = read_pre_tokenizers(root.find("pre_tokenizer"), growth);
  parts.model = Bpe::read(model, parts.vocabulary);
  parts.post_processor = read_post_processor(root.find("post_processor"), parts.vocabulary);
  parts.decoders = read_decoders(root.find("decoder"));
  return parts;
}

}  // namespace wick::tokenizer
