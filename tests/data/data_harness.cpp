#include "data/data_harness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace wick::test {

TextEncoder byte_encoder(bool with_bos) {
  TextEncoder encoder;
  encoder.encode = [](std::string_view text) { return bytes_of(text); };
  if (with_bos) encoder.bos = bos;
  encoder.eos = eos;
  return encoder;
}

std::string safetensors_bytes(const std::vector<IntegerTensor>& tensors) {
  std::string header = "{";
  std::string data;
  for (const IntegerTensor& tensor : tensors) {
    const std::size_t begin = data.size();
    const std::size_t width = tensor.dtype == "I32" ? 4 : 8;
    for (std::int64_t value : tensor.values)
      for (std::size_t byte = 0; byte < width; ++byte)
        data += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * byte) & 0xff);
    header += fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          header.size() > 1 ? "," : "", tensor.name, tensor.dtype,
                          fmt::join(tensor.shape, ","), begin, data.size());
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string file;
  for (std::size_t byte = 0; byte < 8; ++byte) file += static_cast<char>(header.size() >> (8 * byte) & 0xff);
  return file + header + data;
}

std::vector<std::int32_t> ids_of(const DatasetRow& row) { return {row.ids.begin(), row.ids.end()}; }
std::vector<std::int32_t> labels_of(const DatasetRow& row) { return {row.labels.begin(), row.labels.end()}; }

std::vector<std::int32_t> bytes_of(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::vector<std::int32_t> join(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace wick::test
