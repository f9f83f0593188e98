#include "io/tokenizer/decoder.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/pattern.h"
#include "io/tokenizer/pre_tokenizer.h"
#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

/// What stands for a chain without decoders.
class SpacesBetween final : public DecodeStage {
 public:
  void push(std::string token, const Sink& next) override {
    if (!first_) token.insert(0, 1, ' ');
    first_ = false;
    next(std::move(token));
  }

 private:
  bool first_ = true;
};

/// Collects a fused text, for stages that need the whole of it.
class WholeText final : public DecodeStage {
 public:
  explicit WholeText(std::unique_ptr<DecodeStage> stage) : stage_(std::move(stage)) {}
  void push(std::string part, const Sink&) override { text_ += part; }
  void finish(const Sink& next) override {
    stage_->push(std::move(text_), next);
    stage_->finish(next);
  }

 private:
  std::unique_ptr<DecodeStage> stage_;
  std::string text_;
};

/// A decoder whose stage looks at one whole token at a time.
class TokenwiseDecoder : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(bool fused) const final {
    auto stage = start_tokenwise();
    if (fused) stage = std::make_unique<WholeText>(std::move(stage));
    return stage;
  }
  virtual std::unique_ptr<DecodeStage> start_tokenwise() const = 0;
};

/// Bytes become text: what is complete goes out, invalid bytes as U+FFFD.
class ByteLevelDecoder final : public TokenwiseDecoder {
 public:
  std::unique_ptr<DecodeStage> start_tokenwise() const override { return std::make_unique<Stage>(); }
  bool fuses() const override { return true; }

 private:
  class Stage final : public DecodeStage {
   public:
    void push(std::string token, const Sink& next) override {
      append_bytes(token);
      std::string text;
      std::size_t i = 0;
      while (i < held_.size()) {
        const Utf8Prefix prefix = scan_utf8(std::string_view(held_).substr(i));
        if (prefix.kind == Utf8Prefix::Kind::incomplete) break;
        if (prefix.kind == Utf8Prefix::Kind::character) {
          text.append(held_, i, prefix.size);
        } else {
          text += replacement_character;
        }
        i += prefix.size;
      }
      held_.erase(0, i);
      next(std::move(text));
    }
    void finish(const Sink& next) override {
      if (!held_.empty()) next(std::string(replacement_character));
    }

   private:
    /// A token with a character outside the alphabet (an added token) stands for itself.
    void append_bytes(std::string_view token) {
      const std::size_t before = held_.size();
      for (std::size_t i = 0; i < token.size();) {
        const CodePoint c = code_point_at(token, i);
        const auto byte = printable_to_byte(c.value);
        if (!byte) {
          held_.resize(before);
          held_ += token;
          return;
        }
        held_ += static_cast<char>(*byte);
        i += c.size;
      }
    }
    std::string held_;
  };
};

class ReplaceDecoder final : public TokenwiseDecoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::unique_ptr<DecodeStage> start_tokenwise() const override { return std::make_unique<Stage>(*this); }

 private:
  class Stage final : public DecodeStage {
   public:
    explicit Stage(const ReplaceDecoder& decoder) : decoder_(decoder) {}
    void push(std::string token, const Sink& next) override {
      next(decoder_.pattern_.replace(token, decoder_.content_));
    }

   private:
    const ReplaceDecoder& decoder_;
  };
  Pattern pattern_;
  std::string content_;
};

/// Tokens like <0x0A> become bytes. A run of them that is not valid UTF-8 as a whole becomes one U+FFFD a
/// byte.
class ByteFallbackDecoder final : public TokenwiseDecoder {
 public:
  std::unique_ptr<DecodeStage> start_tokenwise() const override { return std::make_unique<Stage>(); }

 private:
  class Stage final : public DecodeStage {
   public:
    void push(std::string token, const Sink& next) override {
      if (const auto byte = byte_of(token)) {
        run_ += static_cast<char>(*byte);
        return;
      }
      finish(next);
      next(std::move(token));
    }
    void finish(const Sink& next) override {
      if (run_.empty()) return;
      const std::string run = std::exchange(run_, {});
      if (!find_invalid_utf8(run)) {
        next(run);
        return;
      }
      for (std::size_t i = 0; i < run.size(); ++i) next(std::string(replacement_character));
    }

   private:
    static std::optional<std::uint8_t> byte_of(std::string_view token) {
      if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
      const int high = hex(token[3]);
      const int low = hex(token[4]);
      if (high < 0 || low < 0) return std::nullopt;
      return static_cast<std::uint8_t>(high * 16 + low);
    }
    static int hex(char c) {
      if (c >= '0' && c <= '9') return c - '0';
      if (c >= 'A' && c <= 'F') return c - 'A' + 10;
      return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    }
    std::string run_;
  };
};

class FuseDecoder final : public Decoder {
 public:
  std::unique_ptr<DecodeStage> start(bool) const override { return std::make_unique<Stage>(); }
  bool fuses() const override { return true; }

 private:
  class Stage final : public DecodeStage {
   public:
    void push(std::string token, const Sink& next) override { next(std::move(token)); }
  };
};

/// Removes up to `start` of a character from the front of each token, and up to `stop` from its end.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(char32_t content, std::size_t start, std::size_t stop) : start_(start), stop_(stop) {
    append_utf8(content_, content);
  }

  std::unique_ptr<DecodeStage> start(bool fused) const override {
    if (!fused) return std::make_unique<TokenStage>(*this);
    if (stop_ > 0) return std::make_unique<WholeText>(std::make_unique<TokenStage>(*this));
    return std::make_unique<FrontStage>(*this);
  }

 private:
  /// Removes from the front of `text`; returns how many characters.
  std::size_t strip_front(std::string_view& text, std::size_t limit) const {
    std::size_t count = 0;
    for (; count < limit && text.starts_with(content_); ++count) text.remove_prefix(content_.size());
    return count;
  }

  class TokenStage final : public DecodeStage {
   public:
    explicit TokenStage(const StripDecoder& decoder) : decoder_(decoder) {}
    void push(std::string token, const Sink& next) override {
      std::string_view rest = token;
      decoder_.strip_front(rest, decoder_.start_);
      for (std::size_t i = 0; i < decoder_.stop_ && rest.ends_with(decoder_.content_); ++i) {
        rest.remove_suffix(decoder_.content_.size());
      }
      next(std::string(rest));
    }

   private:
    const StripDecoder& decoder_;
  };

  /// The front of a fused text as it comes.
  class FrontStage final : public DecodeStage {
   public:
    explicit FrontStage(const StripDecoder& decoder) : decoder_(decoder), left_(decoder.start_) {}
    void push(std::string part, const Sink& next) override {
      std::string_view rest = part;
      left_ -= decoder_.strip_front(rest, left_);
      if (!rest.empty()) left_ = 0;
      next(std::string(rest));
    }

   private:
    const StripDecoder& decoder_;
    std::size_t left_;
  };

  std::string content_;
  std::size_t start_;
  std::size_t stop_;
};

/// The replacement character becomes a space; in the first token it goes, unless nothing was put in front.
class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(char32_t replacement, bool drops_first)
      : replacement_(replacement), drops_first_(drops_first) {}
  std::unique_ptr<DecodeStage> start(bool fused) const override {
    return std::make_unique<Stage>(*this, fused);
  }

 private:
  class Stage final : public DecodeStage {
   public:
    Stage(const MetaspaceDecoder& decoder, bool fused) : decoder_(decoder), fused_(fused) {}
    void push(std::string token, const Sink& next) override {
      std::string out;
      for (std::size_t i = 0; i < token.size();) {
        const CodePoint c = code_point_at(token, i);
        if (c.value != decoder_.replacement_) {
          out.append(token, i, c.size);
        } else if (!first_ || !decoder_.drops_first_) {
          out += ' ';
        }
        i += c.size;
      }
      first_ = fused_;
      next(std::move(out));
    }

   private:
    const MetaspaceDecoder& decoder_;
    bool fused_;
    bool first_ = true;
  };
  char32_t replacement_;
  bool drops_first_;
};

using Made = std::unique_ptr<const Decoder>;

Made read_byte_level(const Field& field, Growth& growth) {
  growth.multiply(field, 3);  // an invalid byte becomes the three of U+FFFD
  return std::make_unique<ByteLevelDecoder>();
}

Made read_replace(const Field& field, Growth& growth) {
  Pattern pattern = Pattern::read(field.at("pattern"));
  const std::string& content = field.at("content").string();
  growth.multiply(field, pattern.growth(content));
  return std::make_unique<ReplaceDecoder>(std::move(pattern), content);
}

Made read_byte_fallback(const Field&, Growth&) { return std::make_unique<ByteFallbackDecoder>(); }

Made read_fuse(const Field&, Growth&) { return std::make_unique<FuseDecoder>(); }

Made read_strip(const Field& field, Growth&) {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  return std::make_unique<StripDecoder>(field.at("content").character(),
                                        static_cast<std::size_t>(field.at("start").integer(0, most)),
                                        static_cast<std::size_t>(field.at("stop").integer(0, most)));
}

Made read_metaspace(const Field& field, Growth&) {
  return std::make_unique<MetaspaceDecoder>(field.at("replacement").character(),
                                            read_prepend_scheme(field) != PrependScheme::never);
}

constexpr StepType<Decoder> decoder_types[] = {
    {"ByteLevel", read_byte_level},
    {"Replace", read_replace},
    {"ByteFallback", read_byte_fallback},
    {"Fuse", read_fuse},
    {"Strip", read_strip},
    {"Metaspace", read_metaspace},
};

}  // namespace

Steps<Decoder> read_decoders(const std::optional<Field>& field) {
  Steps<Decoder> decoders;
  Growth growth;
  if (field) read_steps(*field, "decoders", decoder_types, growth, decoders);
  return decoders;
}

DecodeChain::DecodeChain(const Steps<Decoder>& decoders) {
  bool fused = false;
  for (const auto& decoder : decoders) {
    stages_.push_back(decoder->start(fused));
    fused = fused || decoder->fuses();
  }
  if (stages_.empty()) stages_.push_back(std::make_unique<SpacesBetween>());
}

void DecodeChain::push_from(std::size_t stage, std::string token, std::string& out) {
  if (stage == stages_.size()) {
    out += token;
    return;
  }
  stages_[stage]->push(std::move(token),
                       [&](std::string part) { push_from(stage + 1, std::move(part), out); });
}

void DecodeChain::push(std::string token, std::string& out) { push_from(0, std::move(token), out); }

void DecodeChain::finish(std::string& out) {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->finish([&](std::string part) { push_from(i + 1, std::move(part), out); });
  }
}

}  // namespace wick::tokenizer
