#pragma once

#include "io/tokenizer/added_tokens.h"
#include "io/tokenizer/bpe.h"
#include "io/tokenizer/decoder.h"
#include "io/tokenizer/field.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/post_processor.h"
#include "io/tokenizer/pre_tokenizer.h"
#include "io/tokenizer/text_ends.h"
#include "io/tokenizer/vocabulary.h"

namespace wick::tokenizer {

/// All of a tokenizer, in the order in which a text passes through it. Immutable once read.
struct Parts {
  Vocabulary vocabulary;
  Steps<Normalizer> normalizers;
  AddedTokens added_tokens;
  Steps<PreTokenizer> pre_tokenizers;
  Bpe model;
  PostProcessor post_processor;
  Steps<Decoder> decoders;
  TextEnds ends;

  /// Reads the content of a tokenizer.json; leaves `ends` empty.
  static Parts read(const Field& root);
};

}  // namespace wick::tokenizer
