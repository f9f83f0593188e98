#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/tokenizer/field.h"
#include "io/tokenizer/steps.h"

namespace wick::tokenizer {

/// One decoder at work on one text: takes the tokens one at a time and hands on what it has finished with.
class DecodeStage {
 public:
  using Sink = std::function<void(std::string)>;
  virtual ~DecodeStage() = default;
  virtual void push(std::string token, const Sink& next) = 0;
  /// The text ends: hands on what was held back.
  virtual void finish(const Sink& next) { static_cast<void>(next); }
};

/// A decoder as the file describes it.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// `fused`: a decoder before this one joins all tokens to a single one, which comes in parts.
  virtual std::unique_ptr<DecodeStage> start(bool fused) const = 0;
  /// Whether what comes out is one single token.
  virtual bool fuses() const { return false; }
};

/// The decoders that `field` (may be absent) describes; without any, tokens are joined by spaces.
Steps<Decoder> read_decoders(const std::optional<Field>& field);

/// All decoders at work on one text.
class DecodeChain {
 public:
  explicit DecodeChain(const Steps<Decoder>& decoders);
  /// Appends to `out` the text that `token` completes.
  void push(std::string token, std::string& out);
  void finish(std::string& out);

 private:
  void push_from(std::size_t stage, std::string token, std::string& out);
  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

}  // namespace wick::tokenizer
