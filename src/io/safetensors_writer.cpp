#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/atomic_file.h"
#include "io/printable.h"
#include "io/safetensors_header.h"
#include "wick/error.h"

namespace wick {
namespace {

/// Order in which the format's library lays out dtypes (its enumeration, backwards).
constexpr std::array dtype_order{DType::i64,  DType::f64, DType::f32, DType::i32,
                                 DType::bf16, DType::f16, DType::u8,  DType::bool_};

std::ptrdiff_t order_of(DType dtype) {
  return std::find(dtype_order.begin(), dtype_order.end(), dtype) - dtype_order.begin();
}

void check(std::span<const TensorToWrite> tensors) {
  std::set<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    if (tensor.name == safetensors_metadata_key) {
      throw ArgumentError(fmt::format("a tensor cannot be named '{}' in a safetensors file", tensor.name));
    }
    if (!names.insert(tensor.name).second) {
      throw ArgumentError(
          fmt::format("tensor '{}' is given twice for one safetensors file", printable(tensor.name)));
    }
    const std::size_t wanted = static_cast<std::size_t>(tensor.shape.elements()) * size_of(tensor.dtype);
    if (tensor.bytes.size() != wanted) {
      throw ArgumentError(fmt::format("tensor '{}' is {}{} and needs {} bytes, but {} are given",
                                      printable(tensor.name), name_of(tensor.dtype), tensor.shape.str(),
                                      wanted, tensor.bytes.size()));
    }
  }
}

std::vector<const TensorToWrite*> in_file_order(std::span<const TensorToWrite> tensors) {
  std::vector<const TensorToWrite*> order;
  order.reserve(tensors.size());
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(order_of(a->dtype), std::string_view(a->name)) <
           std::pair(order_of(b->dtype), std::string_view(b->name));
  });
  return order;
}

/// A JSON string. Throws ArgumentError for what is not UTF-8.
std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw ArgumentError(fmt::format(
        "a name or metadata string of a safetensors file is not UTF-8: '{}'",
        nlohmann::json(printable(text)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
  }
}

/// The header with its length before it. Written by hand: the tensors are in file order, not in the order of
/// names.
std::string header_of(const std::vector<const TensorToWrite*>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::string json;
  const auto add = [&json](const std::string& member) { json += (json.empty() ? "{" : ",") + member; };
  if (!metadata.empty()) {
    std::string strings;
    for (const auto& [key, value] : metadata) {
      strings += fmt::format("{}{}:{}", strings.empty() ? "" : ",", quoted(key), quoted(value));
    }
    add(fmt::format(R"("{}":{{{}}})", safetensors_metadata_key, strings));
  }
  std::uint64_t offset = 0;
  for (const TensorToWrite* tensor : tensors) {
    std::string dims;
    for (const std::int64_t dim : tensor->shape.dims())
      dims += fmt::format("{}{}", dims.empty() ? "" : ",", dim);
    add(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", quoted(tensor->name),
                    safetensors_name_of(tensor->dtype), dims, offset, offset + tensor->bytes.size()));
    offset += tensor->bytes.size();
  }
  json += json.empty() ? "{}" : "}";
  json.append((8 - json.size() % 8) % 8, ' ');

  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{json.size()});
  return std::string(length.data(), length.size()) + json;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  check(tensors);
  const auto order = in_file_order(tensors);
  const std::string header = header_of(order, metadata);
  AtomicFile output(file);
  output.write(header);
  for (const TensorToWrite* tensor : order) output.write(tensor->bytes);
  output.commit();
}

}  // namespace wick
