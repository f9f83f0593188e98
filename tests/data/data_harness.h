#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/temporary_directory.h"
#include "train/batches.h"
#include "wick/dataset.h"

namespace wick::test {

/// Ids are bytes; bos and eos are the two ids above them.
inline constexpr std::int32_t bos = 256;
inline constexpr std::int32_t eos = 257;
inline constexpr std::int64_t vocab_size = 258;
TextEncoder byte_encoder(bool with_bos = false);

using wick::testing::read_text;
using wick::testing::TemporaryDirectory;

/// A tensor for `safetensors_bytes`, as i64.
struct IntegerTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> values;
  std::string dtype = "I64";  ///< I64 or I32; another of 8 bytes to be refused
};
/// The bytes of a safetensors file, put together here from the format's description.
std::string safetensors_bytes(const std::vector<IntegerTensor>& tensors);

std::vector<std::int32_t> ids_of(const DatasetRow& row);
std::vector<std::int32_t> labels_of(const DatasetRow& row);
std::vector<std::int32_t> bytes_of(std::string_view text);
/// a followed by b.
std::vector<std::int32_t> join(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b);

}  // namespace wick::test
