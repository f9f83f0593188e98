// Any bytes as a .jsonl data set: rows and batches, or a wick::Error; nothing else.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "train/batches.h"
#include "wick/error.h"

namespace {

std::vector<std::int32_t> bytes_of(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  const wick::TextEncoder encoder{bytes_of, 256, 257};
  try {
    const wick::Dataset rows =
        wick::Dataset::parse_jsonl(content, "fuzz.jsonl", encoder, {.vocab_size = 258});
    for (bool packing : {false, true}) {
      wick::Batches batches(rows, {.batch_size = 2, .seq_len = 16, .packing = packing});
      for (int i = 0; i < 4; ++i) {
        const wick::Batch batch = batches.next();
        if (batch.target_tokens < 1 || batch.length > 16) __builtin_trap();
      }
    }
  } catch (const wick::Error&) {
  }
  return 0;
}
