#pragma once

#include <optional>
#include <string>

#include "io/tokenizer/field.h"
#include "io/tokenizer/steps.h"

namespace wick::tokenizer {

/// A stretch of the user's text on its way to the model.
struct Stretch {
  std::string text;
  bool at_start;  // its first character comes from the beginning of the user's text
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Stretch& stretch) const = 0;
};

/// The normalizers that `field` (may be absent) describes.
Steps<Normalizer> read_normalizers(const std::optional<Field>& field, Growth& growth);

void normalize(const Steps<Normalizer>& normalizers, Stretch& stretch);

}  // namespace wick::tokenizer
