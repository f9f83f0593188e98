#include "io/tokenizer/normalizer.h"

#include <string_view>
#include <utility>

#include "io/tokenizer/pattern.h"
#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(Stretch& stretch) const override {
    if (!stretch.text.empty()) stretch.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Stretch& stretch) const override {
    bool moves_start = false;
    stretch.text = pattern_.replace(stretch.text, content_, &moves_start);
    if (moves_start) stretch.at_start = false;
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  void apply(Stretch& stretch) const override { stretch.text = normalize(stretch.text, form_); }

 private:
  NormalForm form_;
};

class LowercaseNormalizer final : public Normalizer {
 public:
  void apply(Stretch& stretch) const override { stretch.text = lowercase(stretch.text); }
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(Stretch& stretch) const override {
    std::string& text = stretch.text;
    std::size_t begin = 0;
    std::size_t end = text.size();
    while (left_ && begin < end) {
      const CodePoint c = code_point_at(text, begin);
      if (!is_whitespace(c.value)) break;
      begin += c.size;
    }
    while (right_ && end > begin) {
      const CodePoint c = code_point_before(text, end);
      if (!is_whitespace(c.value)) break;
      end -= c.size;
    }
    if (begin > 0) stretch.at_start = false;
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_;
  bool right_;
};

using Made = std::unique_ptr<const Normalizer>;

Made read_prepend(const Field& field, Growth&) {
  return std::make_unique<PrependNormalizer>(field.at("prepend").string());
}

Made read_replace(const Field& field, Growth& growth) {
  Pattern pattern = Pattern::read(field.at("pattern"));
  const std::string& content = field.at("content").string();
  growth.multiply(field, pattern.growth(content));
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), content);
}

template <NormalForm form>
Made read_unicode(const Field& field, Growth& growth) {
  const bool compatibility = form == NormalForm::nfkc || form == NormalForm::nfkd;
  growth.multiply(field, compatibility ? 11 : 3);  // UAX #15, table 7
  return std::make_unique<UnicodeNormalizer>(form);
}

Made read_lowercase(const Field& field, Growth& growth) {
  growth.multiply(field, 1.5);
  return std::make_unique<LowercaseNormalizer>();
}

Made read_strip(const Field& field, Growth&) {
  return std::make_unique<StripNormalizer>(field.at("strip_left").boolean(),
                                           field.at("strip_right").boolean());
}

constexpr StepType<Normalizer> normalizer_types[] = {
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"NFC", read_unicode<NormalForm::nfc>},
    {"NFD", read_unicode<NormalForm::nfd>},
    {"NFKC", read_unicode<NormalForm::nfkc>},
    {"NFKD", read_unicode<NormalForm::nfkd>},
    {"Lowercase", read_lowercase},
    {"Strip", read_strip},
};

}  // namespace

Steps<Normalizer> read_normalizers(const std::optional<Field>& field, Growth& growth) {
  Steps<Normalizer> steps;
  if (field) read_steps(*field, "normalizers", normalizer_types, growth, steps);
  return steps;
}

void normalize(const Steps<Normalizer>& normalizers, Stretch& stretch) {
  for (const auto& normalizer : normalizers) normalizer->apply(stretch);
}

}  // namespace wick::tokenizer
