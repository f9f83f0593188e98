#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wick/safetensors.h"

namespace wick {

/// Headers above this are refused, as the format's own library does.
inline constexpr std::uint64_t max_safetensors_header = 100'000'000;
/// Reserved key of the header's free-form strings.
inline constexpr std::string_view safetensors_metadata_key = "__metadata__";

struct SafetensorsContent {
  std::vector<TensorInfo> tensors;  // sorted by name
  std::map<std::string, std::string> metadata;
};

/// Parses and validates a whole file, kept alive by `owner`. `name` stands for the file in errors. Throws
/// FormatError.
SafetensorsContent parse_safetensors(std::span<const std::byte> file,
                                     const std::shared_ptr<const void>& owner, std::string_view name);

/// Sorts, and throws FormatError for two tensors of one name.
void sort_by_name(std::vector<TensorInfo>& tensors, std::string_view name);

/// The format's name of a dtype, e.g. "BF16".
std::string_view safetensors_name_of(DType dtype);

}  // namespace wick
