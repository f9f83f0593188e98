#pragma once

#include <cstdint>
#include <string_view>

namespace wick {

/// The passes that evaluations started on this thread leave out, by WICK_PASSES and by DisablePassesScope:
/// bit i stands for the name that the pipeline lists first at position i. Throws ArgumentError when
/// WICK_PASSES names a pass that does not exist or is required.
std::uint64_t disabled_passes();

/// Whether `disabled` contains the pass at position `index` of the pipeline.
bool is_disabled(std::uint64_t disabled, std::size_t index);
/// The same of the pass of this name.
bool is_disabled(std::uint64_t disabled, std::string_view name);

}  // namespace wick
