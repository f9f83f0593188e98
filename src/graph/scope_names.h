#pragma once

#include <cstdint>
#include <string>

#include "wick/source_location.h"

namespace wick {

/// The number of the scope that ops recorded on this thread are put in.
std::uint32_t& recording_scope() noexcept;

/// "model.layers.3/self_attn"; empty for what was recorded outside scopes.
std::string scope_path(std::uint32_t scope);

/// The same place, for an op of its gradient. Scopes are numbered by twos: the odd number behind a scope's
/// own stands for the gradient of what it holds.
inline SourceLocation gradient_of(SourceLocation where) noexcept {
  where.scope |= 1u;
  return where;
}
inline bool is_gradient(const SourceLocation& where) noexcept { return (where.scope & 1u) != 0; }

}  // namespace wick
