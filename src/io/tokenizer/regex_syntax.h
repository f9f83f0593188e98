#pragma once

#include <string>
#include <string_view>

#include "io/tokenizer/field.h"

namespace wick::tokenizer {

/// Number of the callout that to_pcre2 puts behind every repetition and group.
inline constexpr int work_callout = 1;

/// Rewrites `pattern`, in Oniguruma's Ruby syntax (https://github.com/kkos/oniguruma/blob/master/doc/RE) that
/// tokenizer.json uses, to what PCRE2 reads the same way under PCRE2_UTF, UCP and MULTILINE.
/// Throws ConfigError, naming `where`, for a construct without a certain counterpart.
std::string to_pcre2(std::string_view pattern, const Field& where);

}  // namespace wick::tokenizer
