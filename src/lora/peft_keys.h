#pragma once

#include <string>

namespace wick {

/// The name of a factor ('A' or 'B') of a module in PEFT's adapter_model.safetensors.
inline std::string peft_key(const std::string& module, char factor) {
  return "base_model.model." + module + ".lora_" + factor + ".weight";
}

}  // namespace wick
