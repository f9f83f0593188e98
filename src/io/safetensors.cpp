#include "wick/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "io/mapped_file.h"
#include "io/printable.h"
#include "io/safetensors_header.h"
#include "wick/error.h"

namespace wick {

Safetensors Safetensors::open(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  SafetensorsContent content = parse_safetensors(mapped->bytes(), mapped, file.string());
  return Safetensors(file, std::move(content.tensors), std::move(content.metadata));
}

Safetensors Safetensors::parse(std::span<const std::byte> content, const std::string& name) {
  const auto copy = std::make_shared<const std::vector<std::byte>>(content.begin(), content.end());
  SafetensorsContent parsed = parse_safetensors(*copy, copy, name);
  return Safetensors(name, std::move(parsed.tensors), std::move(parsed.metadata));
}

const TensorInfo* Safetensors::find(std::string_view name) const noexcept {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorInfo& tensor, std::string_view n) { return tensor.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

const TensorInfo& Safetensors::at(std::string_view name) const {
  const TensorInfo* found = find(name);
  if (!found) throw FormatError(fmt::format("{}: has no tensor '{}'", path_.string(), printable(name)));
  return *found;
}

}  // namespace wick
