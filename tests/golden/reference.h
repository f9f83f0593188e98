#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace wick {

/// Where the reference models and outcomes lie; may not exist.
inline std::filesystem::path reference_directory() {
  const char* given = std::getenv("WICK_REFERENCE_DIR");
  return given ? given : WICK_SOURCE_DIR "/../shared/reference";
}

}  // namespace wick

/// Skips the test, saying so, where the reference data is absent.
#define WICK_NEEDS_REFERENCE()                                                       \
  if (!std::filesystem::exists(wick::reference_directory() / "models"))              \
  GTEST_SKIP() << "the reference data is not there (" << wick::reference_directory() \
               << "); set WICK_REFERENCE_DIR"
