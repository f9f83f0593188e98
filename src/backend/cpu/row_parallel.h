#pragma once

#include "backend/cpu/parallel.h"

namespace wick {

/// parallel_for over rows of `row_elements` each; a thread gets enough of them to be worth waking.
template <typename F>
void parallel_rows(std::int64_t rows, std::int64_t row_elements, const F& f) {
  constexpr std::int64_t elements_a_thread = 32768;
  parallel_for(rows, std::max<std::int64_t>(1, elements_a_thread / std::max<std::int64_t>(1, row_elements)),
               f);
}

}  // namespace wick
