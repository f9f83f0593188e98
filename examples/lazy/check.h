#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the program with status 1 when something that an example states does not hold.
inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::exit(1);
}
