#include <cstddef>
#include <cstdint>
#include <span>

#include "wick/error.h"
#include "wick/safetensors.h"

/// A safetensors file from any bytes: it loads, with tensors inside the data, or is refused by a FormatError.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = wick::Safetensors::parse(std::as_bytes(std::span(data, size)), "input");
    std::size_t total = 0;
    for (const wick::TensorInfo& tensor : file.tensors()) {
      if (file.find(tensor.name) != &tensor) __builtin_trap();
      for (const std::byte value : tensor.bytes) total += std::to_integer<std::size_t>(value);
    }
    volatile std::size_t keep = total;
    static_cast<void>(keep);
  } catch (const wick::FormatError&) {
  }
  return 0;
}
