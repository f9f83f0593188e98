#pragma once

namespace wick {

/// Whether this build checks addresses. Memory that is kept for its next user would hide uses after free.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool checks_addresses = true;
#elif defined(__has_feature)
inline constexpr bool checks_addresses =
    __has_feature(address_sanitizer) || __has_feature(memory_sanitizer);  // clang's way to ask
#else
inline constexpr bool checks_addresses = false;
#endif

}  // namespace wick
