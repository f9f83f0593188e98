#pragma once

namespace wick {

/// Makes the number of threads that `set_threads` chose hold on the calling thread too (OpenMP keeps it per
/// thread).
void use_configured_threads() noexcept;

}  // namespace wick
