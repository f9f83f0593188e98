#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wick/explain.h"

namespace wick {

/// The steps of a plan folded by the parts of the model: a tree over the names of NameScopes, in the order in
/// which the plan comes to them. Gradients are parts of their own on the first level.
struct Part {
  std::string name;
  bool gradient = false;
  std::vector<Part> parts;           ///< by their first steps
  std::vector<std::uint32_t> steps;  ///< that belong to none of `parts`

  std::uint32_t first_step = 0;
  std::size_t count = 0;  ///< of all steps in it
  double flops = 0;
  double bytes = 0;
  double floor_seconds = 0;
};

/// The whole plan as one part.
Part parts_of(const Explanation& explanation);

}  // namespace wick
