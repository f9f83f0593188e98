#include "io/tokenizer/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/pattern.h"
#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

constexpr std::array<std::pair<std::string_view, Behavior>, 5> behavior_names{{
    {"Removed", Behavior::removed},
    {"Isolated", Behavior::isolated},
    {"MergedWithPrevious", Behavior::merged_with_previous},
    {"MergedWithNext", Behavior::merged_with_next},
    {"Contiguous", Behavior::contiguous},
}};

Behavior read_behavior(const Field& field) {
  for (const auto& [name, behavior] : behavior_names) {
    if (field.string() == name) return behavior;
  }
  field.unsupported(fmt::format("'{}' is not supported", field.string()));
}

/// Joins each match that follows a non-match (in the order of iteration) to it.
template <class Iterator>
std::vector<Span> merge_matches(Iterator begin, Iterator end) {
  std::vector<Span> out;
  bool previous_match = false;
  for (auto it = begin; it != end; ++it) {
    if (it->is_match && !previous_match && !out.empty()) {
      out.back().begin = std::min(out.back().begin, it->begin);
      out.back().end = std::max(out.back().end, it->end);
    } else {
      out.push_back(*it);
    }
    previous_match = it->is_match;
  }
  return out;
}

std::vector<Span> join_runs(const std::vector<Span>& spans) {
  std::vector<Span> out;
  for (const Span& span : spans) {
    if (!out.empty() && out.back().is_match == span.is_match) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
  }
  return out;
}

void apply_behavior(Behavior behavior, std::vector<Span>& spans) {
  switch (behavior) {
    case Behavior::isolated: break;
    case Behavior::removed: std::erase_if(spans, [](const Span& s) { return s.is_match; }); break;
    case Behavior::merged_with_previous: spans = merge_matches(spans.begin(), spans.end()); break;
    case Behavior::merged_with_next:
      spans = merge_matches(spans.rbegin(), spans.rend());
      std::reverse(spans.begin(), spans.end());
      break;
    case Behavior::contiguous: spans = join_runs(spans); break;
  }
}

/// Cuts each piece at the spans that `find(view, spans)` gives for it.
template <class Find>
void split(Pieces& pieces, Behavior behavior, Find find) {
  std::vector<Pieces::Piece> out;
  std::vector<Span> spans;
  for (const Pieces::Piece& piece : pieces.pieces) {
    spans.clear();
    find(pieces.view(piece), spans);
    apply_behavior(behavior, spans);
    for (const Span& span : spans) {
      if (span.begin == span.end) continue;
      out.push_back({piece.begin + span.begin, piece.begin + span.end, piece.at_start && span.begin == 0});
    }
  }
  pieces.pieces = std::move(out);
}

void split_at_pattern(Pieces& pieces, Behavior behavior, const Pattern& pattern, bool invert) {
  Pattern::Search search(pattern);
  split(pieces, behavior, [&](std::string_view text, std::vector<Span>& spans) {
    search.spans(text, spans);
    if (invert) {
      for (Span& span : spans) span.is_match = !span.is_match;
    }
  });
}

/// Each character for which `is_delimiter` holds is a match.
template <class Predicate>
void split_at_characters(Pieces& pieces, Behavior behavior, Predicate is_delimiter) {
  split(pieces, behavior, [&](std::string_view text, std::vector<Span>& spans) {
    std::size_t previous = 0;
    for (std::size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      if (is_delimiter(c.value)) {
        if (previous != i) spans.push_back({previous, i, false});
        spans.push_back({i, i + c.size, true});
        previous = i + c.size;
      }
      i += c.size;
    }
    if (previous != text.size()) spans.push_back({previous, text.size(), false});
  });
}

/// Writes the text anew: `write(piece, view, out)` appends what becomes of each piece.
template <class Write>
void rewrite(Pieces& pieces, Write write) {
  std::string out;
  out.reserve(pieces.text.size() * 2);
  for (Pieces::Piece& piece : pieces.pieces) {
    const std::size_t begin = out.size();
    write(piece, pieces.view(piece), out);
    piece.begin = begin;
    piece.end = out.size();
  }
  pieces.text = std::move(out);
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override { split_at_pattern(pieces, behavior_, pattern_, invert_); }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, std::optional<Pattern> words)
      : add_prefix_space_(add_prefix_space), words_(std::move(words)) {}

  void apply(Pieces& pieces) const override {
    if (add_prefix_space_) {
      rewrite(pieces, [](const auto&, std::string_view text, std::string& out) {
        if (!text.starts_with(' ')) out += ' ';
        out += text;
      });
    }
    if (words_) split_at_pattern(pieces, Behavior::isolated, *words_, false);
    rewrite(pieces, [](const auto&, std::string_view text, std::string& out) {
      for (const char c : text) out += byte_to_printable(static_cast<std::uint8_t>(c));
    });
  }

 private:
  bool add_prefix_space_;
  std::optional<Pattern> words_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  MetaspacePreTokenizer(char32_t replacement, PrependScheme scheme, bool split)
      : replacement_(replacement), scheme_(scheme), split_(split) {
    append_utf8(replacement_text_, replacement);
  }

  void apply(Pieces& pieces) const override {
    rewrite(pieces, [this](const Pieces::Piece& piece, std::string_view text, std::string& out) {
      const bool wanted =
          scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && piece.at_start);
      if (wanted && !text.starts_with(' ') && !text.starts_with(replacement_text_)) out += replacement_text_;
      for (const char c : text) {
        if (c == ' ') {
          out += replacement_text_;
        } else {
          out += c;
        }
      }
    });
    if (split_) {
      split_at_characters(pieces, Behavior::merged_with_next,
                          [this](char32_t c) { return c == replacement_; });
    }
  }

 private:
  char32_t replacement_;
  std::string replacement_text_;
  PrependScheme scheme_;
  bool split_;
};

/// Runs of word characters, and runs of what is neither word nor space; spaces go.
class WhitespacePreTokenizer final : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split(pieces, Behavior::isolated, [](std::string_view text, std::vector<Span>& spans) {
      enum class Kind { none, word, other };
      Kind run = Kind::none;
      for (std::size_t i = 0; i < text.size();) {
        const CodePoint c = code_point_at(text, i);
        const Kind kind = is_word(c.value) ? Kind::word : is_whitespace(c.value) ? Kind::none : Kind::other;
        if (kind != Kind::none) {
          if (kind != run) spans.push_back({i, i, false});
          spans.back().end = i + c.size;
        }
        run = kind;
        i += c.size;
      }
    });
  }
};

class WhitespaceSplitPreTokenizer final : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override { split_at_characters(pieces, Behavior::removed, is_whitespace); }
};

class DigitsPreTokenizer final : public PreTokenizer {
 public:
  explicit DigitsPreTokenizer(bool individual)
      : behavior_(individual ? Behavior::isolated : Behavior::contiguous) {}
  void apply(Pieces& pieces) const override { split_at_characters(pieces, behavior_, is_numeric); }

 private:
  Behavior behavior_;
};

class PunctuationPreTokenizer final : public PreTokenizer {
 public:
  explicit PunctuationPreTokenizer(Behavior behavior) : behavior_(behavior) {}
  void apply(Pieces& pieces) const override { split_at_characters(pieces, behavior_, is_punctuation); }

 private:
  Behavior behavior_;
};

using Made = std::unique_ptr<const PreTokenizer>;

Made read_split(const Field& field, Growth&) {
  return std::make_unique<SplitPreTokenizer>(
      Pattern::read(field.at("pattern")), read_behavior(field.at("behavior")), field.at("invert").boolean());
}

/// The word pattern of GPT-2's encoder.py.
constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Made read_byte_level(const Field& field, Growth& growth) {
  const bool add_prefix_space = field.at("add_prefix_space").boolean();
  growth.multiply(field, add_prefix_space ? 4 : 2);
  std::optional<Pattern> words;
  if (field.boolean_or("use_regex", true)) words = Pattern::regex(gpt2_words, field);
  return std::make_unique<ByteLevelPreTokenizer>(add_prefix_space, std::move(words));
}

Made read_metaspace(const Field& field, Growth& growth) {
  growth.multiply(field, 5);  // a space becomes up to four bytes, and as many may go in front
  return std::make_unique<MetaspacePreTokenizer>(field.at("replacement").character(),
                                                 read_prepend_scheme(field), field.boolean_or("split", true));
}

Made read_whitespace(const Field&, Growth&) { return std::make_unique<WhitespacePreTokenizer>(); }
Made read_whitespace_split(const Field&, Growth&) { return std::make_unique<WhitespaceSplitPreTokenizer>(); }

Made read_digits(const Field& field, Growth&) {
  return std::make_unique<DigitsPreTokenizer>(field.at("individual_digits").boolean());
}

Made read_punctuation(const Field& field, Growth&) {
  const auto behavior = field.find("behavior");
  return std::make_unique<PunctuationPreTokenizer>(behavior ? read_behavior(*behavior) : Behavior::isolated);
}

constexpr StepType<PreTokenizer> pre_tokenizer_types[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Metaspace", read_metaspace},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"Digits", read_digits},
    {"Punctuation", read_punctuation},
};

constexpr std::array<std::pair<std::string_view, PrependScheme>, 3> scheme_names{{
    {"always", PrependScheme::always},
    {"never", PrependScheme::never},
    {"first", PrependScheme::first},
}};

}  // namespace

PrependScheme read_prepend_scheme(const Field& metaspace) {
  const auto name = metaspace.find("prepend_scheme");
  const auto old_key = metaspace.find("add_prefix_space");
  const bool off = old_key && !old_key->boolean();
  if (!name) return off ? PrependScheme::never : PrependScheme::always;
  for (const auto& [known, scheme] : scheme_names) {
    if (name->string() != known) continue;
    if (off && scheme != PrependScheme::never) old_key->malformed("contradicts prepend_scheme");
    return scheme;
  }
  name->unsupported(fmt::format("'{}' is not supported", name->string()));
}

Steps<PreTokenizer> read_pre_tokenizers(const std::optional<Field>& field, Growth& growth) {
  Steps<PreTokenizer> steps;
  if (field) read_steps(*field, "pretokenizers", pre_tokenizer_types, growth, steps);
  return steps;
}

Pieces pre_tokenize(const Steps<PreTokenizer>& pre_tokenizers, Stretch stretch) {
  Pieces pieces{std::move(stretch.text), {}};
  if (!pieces.text.empty()) pieces.pieces.push_back({0, pieces.text.size(), stretch.at_start});
  for (const auto& pre_tokenizer : pre_tokenizers) pre_tokenizer->apply(pieces);
  return pieces;
}

}  // namespace wick::tokenizer
