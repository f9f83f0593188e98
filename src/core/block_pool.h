#pragma once

#include <cstddef>

namespace wick {

/// Memory for small objects that come and go by the thousand, such as graph nodes: each thread keeps a
/// bounded number of freed blocks for its next requests, without locks. A block may be freed on another
/// thread than the one that took it. Under AddressSanitizer nothing is kept, so that uses after free are
/// seen.
namespace block_pool {

void* take(std::size_t bytes);
/// `bytes` as they were asked for.
void give(void* block, std::size_t bytes) noexcept;

}  // namespace block_pool

}  // namespace wick
