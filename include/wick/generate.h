#pragma once

#include <functional>
#include <string>
#include <vector>

#include "wick/explain.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/sampler.h"
#include "wick/tokenizer.h"

namespace wick {

/// What a generator tells about each token as it comes.
struct GeneratedToken {
  std::int32_t id = 0;
  std::string text;        ///< what became readable with this token: whole UTF-8 characters, often empty
  double probability = 0;  ///< under the distribution that it was drawn from
  double logit = 0;        ///< as the model gave it
  bool is_eos = false;
};

/// Return false to stop.
using TokenCallback = std::function<bool(const GeneratedToken&)>;

struct GenerateOptions {
  std::int64_t max_tokens = 128;
  SamplingOptions sampling;
  /// Generation ends before the first of these texts; they are not part of the result.
  std::vector<std::string> stop;
};

struct Generation {
  std::vector<std::int32_t> prompt_ids;
  std::vector<std::int32_t> ids;  ///< generated, the end-of-sequence token included when it came
  std::string completion;         ///< text that the generated ids add to the prompt, without special tokens
  std::string text;               ///< the prompt's ids and the generated ones as text: prompt and completion
  std::string
      finish_reason;  ///< "eos", "length" (also: the model's positions are used up), "stop", "callback"
  double prompt_seconds = 0;
  double decode_seconds = 0;
  double tokens_per_second = 0;  ///< generated tokens after the first, over decode_seconds
};

/// Continues `prompt_ids` token by token with a KV cache. Throws ArgumentError for an empty prompt, ids
/// outside the vocabulary, or a prompt longer than the model's positions; NumericError when the logits are
/// not finite.
Generation generate(const Model& model, const Tokenizer& tokenizer,
                    const std::vector<std::int32_t>& prompt_ids, const GenerateOptions& options,
                    const LoraAdapter* adapter = nullptr, const TokenCallback& callback = {});
/// The same from text, with the tokenizer's special tokens; text that spells a special token is text.
Generation generate(const Model& model, const Tokenizer& tokenizer, const std::string& prompt,
                    const GenerateOptions& options, const LoraAdapter* adapter = nullptr,
                    const TokenCallback& callback = {});

/// What generation computes when it feeds `length` ids to each of `rows` rows behind `cached` positions: a
/// prompt, or with length 1 a decoding step. Nothing is computed, so that a `Model::blank` will do. Throws
/// ArgumentError when the model has not as many positions.
Explanation explain_forward(const Model& model, const LoraAdapter* adapter, std::int64_t rows,
                            std::int64_t length, std::int64_t cached);

}  // namespace wick
