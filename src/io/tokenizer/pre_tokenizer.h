#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizer/field.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/steps.h"

namespace wick::tokenizer {

/// A text cut into pieces, in order and never empty; some of the text may belong to no piece.
struct Pieces {
  struct Piece {
    std::size_t begin;
    std::size_t end;
    bool at_start;
  };
  std::string text;
  std::vector<Piece> pieces;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

/// The pre-tokenizers that `field` (may be absent) describes.
Steps<PreTokenizer> read_pre_tokenizers(const std::optional<Field>& field, Growth& growth);

/// How a Metaspace pre-tokenizer or decoder treats the front of a text.
enum class PrependScheme { always, never, first };
/// Reads prepend_scheme, or the older add_prefix_space.
PrependScheme read_prepend_scheme(const Field& metaspace);

Pieces pre_tokenize(const Steps<PreTokenizer>& pre_tokenizers, Stretch stretch);

}  // namespace wick::tokenizer
