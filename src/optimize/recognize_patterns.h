#pragma once

#include <vector>

#include "optimize/pattern.h"

// What `recognize` looks for, in this order: later patterns are made of what earlier ones found. A match has
// the meaning of the composite for every value, up to rounding.
namespace wick {

std::vector<Rule> activation_patterns();
std::vector<Rule> softmax_patterns();
std::vector<Rule> norm_patterns();
std::vector<Rule> linear_patterns();
std::vector<Rule> lora_patterns();
std::vector<Rule> attention_patterns();
std::vector<Rule> cross_entropy_patterns();

}  // namespace wick
