#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "wick/error.h"
#include "wick/lora_config.h"
#include "wick/model_config.h"

namespace {

/// What was read must be written and read back as the same.
template <typename Config>
void check(std::string_view text) {
  try {
    const Config config = Config::from_json(text);
    if (Config::from_json(config.to_json()) != config) __builtin_trap();
  } catch (const wick::Error&) {
  }
}

void match(std::string_view text) {
  try {
    const auto config = wick::LoraConfig::from_json(text);
    const std::string module = "model.layers.1.self_attn.q_proj";
    if (config.targets(module) && !(config.rank_for(module) >= 1)) __builtin_trap();
  } catch (const wick::Error&) {
  }
}

}  // namespace

/// config.json and adapter_config.json from any text: read, or refused by a wick::Error.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check<wick::ModelConfig>(text);
  check<wick::LoraConfig>(text);
  match(text);
  return 0;
}
