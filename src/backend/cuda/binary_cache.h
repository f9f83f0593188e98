#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wick::cuda {

/// Compiled kernels on disk, a file each, named by a checksum of what they were made from: under
/// $XDG_CACHE_HOME/wick/kernels (~/.cache/wick/kernels), or where WICK_KERNEL_CACHE says; nowhere when that
/// is "off". A cache that cannot be read or written is as good as an empty one.

/// The binary of `made_from`, or nothing: none is there, or the file is damaged.
std::optional<std::string> read_cached_binary(std::string_view made_from);
void write_cached_binary(std::string_view made_from, std::string_view binary) noexcept;

}  // namespace wick::cuda
