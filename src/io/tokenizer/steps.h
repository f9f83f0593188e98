#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tokenizer/field.h"

namespace wick::tokenizer {

/// Bound on how much longer than its text a chain of steps can make it, so that a hostile file cannot exhaust
/// memory.
class Growth {
 public:
  /// Multiplies the bound. Throws ConfigError, naming `step`, when a text could become 1024 times as long.
  void multiply(const Field& step, double factor) {
    bound_ *= factor;
    if (bound_ > 1024)
      step.unsupported("could, with the steps before it, make a text more than 1024 times as long");
  }

 private:
  double bound_ = 1;
};

/// Steps of one kind (normalizers, pre-tokenizers, decoders) in the order in which they run.
template <class Step>
using Steps = std::vector<std::unique_ptr<const Step>>;

inline constexpr std::size_t max_steps = 64;

/// A type of step: its name in the file and its reader.
template <class Step>
struct StepType {
  std::string_view name;
  std::unique_ptr<const Step> (*read)(const Field& field, Growth& growth);
};

/// Appends the step that `field` describes, or those of a "Sequence", which lists its parts under
/// `sequence_key`. Throws ConfigError for a type that is not among `types`, and for more than `max_steps` in
/// all.
template <class Step, std::size_t n>
void read_steps(const Field& field, const char* sequence_key, const StepType<Step> (&types)[n],
                Growth& growth, Steps<Step>& out) {
  const Field type = field.at("type");
  if (type.string() == "Sequence") {
    for (const Field& part : field.at(sequence_key).elements())
      read_steps(part, sequence_key, types, growth, out);
    return;
  }
  std::string known = "Sequence";
  for (const StepType<Step>& entry : types) {
    if (type.string() == entry.name) {
      if (out.size() == max_steps) field.unsupported(fmt::format("is more than {} steps", max_steps));
      out.push_back(entry.read(field, growth));
      return;
    }
    known += fmt::format(", {}", entry.name);
  }
  type.unsupported(fmt::format("'{}' is not supported; these are: {}", type.string(), known));
}

}  // namespace wick::tokenizer
