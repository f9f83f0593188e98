#pragma once

#include <cstdint>
#include <string_view>

namespace wick {

/// While one lives, what this thread records belongs to the part of a model that it names. Scopes nest:
/// "model.layers.3", and in it "self_attn", make "model.layers.3/self_attn". Gradient ops belong to the part
/// whose gradient they are. `explain` and profiles group by these names; nothing else depends on them.
///
/// A name costs a look-up, an op recorded meanwhile costs nothing. Names are kept until the process ends, at
/// most 100,000 of them: later ones are recorded under the name around them.
class NameScope {
 public:
  explicit NameScope(std::string_view name);
  ~NameScope();
  NameScope(const NameScope&) = delete;
  NameScope& operator=(const NameScope&) = delete;

 private:
  std::uint32_t previous_;
  std::int64_t begin_ = 0;  // when a profile is being recorded
};

}  // namespace wick
