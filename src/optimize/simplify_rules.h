#pragma once

#include <vector>

#include "optimize/pattern.h"

// The rewrites of `simplify`, by what they are about. Each holds for every value, NaN, infinities and the
// sign of zero included, and gives the same bits; those that round once where the original rounds more often
// say so.
namespace wick {

std::vector<Rule> arithmetic_rules();
std::vector<Rule> logic_rules();
std::vector<Rule> cast_rules();
std::vector<Rule> movement_rules();

}  // namespace wick
