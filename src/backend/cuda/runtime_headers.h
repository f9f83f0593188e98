#pragma once

#include <array>

namespace wick::cuda {

/// A header that sources compiled at run time include, by its name under src/.
struct RuntimeHeader {
  const char* name;
  const char* text;
};

/// The headers of device/ that need no others.
extern const std::array<RuntimeHeader, 7> runtime_headers;

}  // namespace wick::cuda
