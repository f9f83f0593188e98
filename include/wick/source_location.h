#pragma once

#include <cstdint>

namespace wick {

/// Where user code recorded an op. `std::source_location` in spirit; our own because clang 14 (Debian 12)
/// does not provide the standard one. Use it only as a defaulted last parameter.
struct SourceLocation {
  const char* file = "";
  const char* function = "";
  int line = 0;
  /// The part of a model that was being recorded (see wick/name_scope.h); 0: none.
  std::uint32_t scope = 0;

  static constexpr SourceLocation current(const char* file = __builtin_FILE(),
                                          const char* function = __builtin_FUNCTION(),
                                          int line = __builtin_LINE()) noexcept {
    return {file, function, line};
  }
};

}  // namespace wick
