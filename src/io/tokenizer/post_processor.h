#pragma once

#include <optional>
#include <vector>

#include "io/tokenizer/field.h"
#include "io/tokenizer/vocabulary.h"

namespace wick::tokenizer {

/// The ids that a text gets in front and behind.
struct PostProcessor {
  std::vector<Id> before;
  std::vector<Id> after;
};

/// Reads "post_processor" (may be absent): TemplateProcessing's template for a single text; ByteLevel changes
/// no ids.
PostProcessor read_post_processor(const std::optional<Field>& field, const Vocabulary& vocabulary);

}  // namespace wick::tokenizer
