#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wick/explain.h"

namespace wick {

/// A box of the picture of a plan: one step, or a part of the model.
struct Box {
  std::string title;
  std::vector<std::string> lines;
  std::string hint;  ///< more, for who points at it
  std::string name;  ///< that a gradient shares with what it is the gradient of
  bool gradient = false;
  double share = 0;                   ///< of the least time of the whole plan
  std::vector<std::uint32_t> inputs;  ///< boxes whose results it reads
  // Where it lies, in pixels; filled in by `lay_out`.
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

struct Picture {
  std::vector<Box> boxes;
  double width = 0;
  double height = 0;
  std::string note;  ///< on what was left out
};

/// The boxes of a plan, without places: its steps where those are few or belong to no parts, else its parts.
Picture picture_of(const Explanation& explanation);

/// Layers from top to bottom, each box below what it reads. Gradients stand beside what they are the
/// gradients of, and so run upwards.
void lay_out(Picture& picture);

}  // namespace wick
