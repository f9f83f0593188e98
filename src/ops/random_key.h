#pragma once

#include "graph/op.h"

namespace wick {

/// Throws ArgumentError for anything but i64 [2].
void require_random_key(const Spec& key);

}  // namespace wick
