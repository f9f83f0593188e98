#include "backend/cpu/amx.h"

#include <algorithm>

#include "wick/error.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#if !defined(__clang__)
#pragma GCC diagnostic ignored \
    "-Wmaybe-uninitialized"  // in gcc's header: what it leaves undefined on purpose
#endif
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WICK_AMX __attribute__((target("amx-tile,amx-bf16")))
// gcc's intrinsics do not say that they read and write memory.
#define WICK_AMX_FENCE() __asm__ volatile("" ::: "memory")

namespace wick {
namespace {

/// What LDTILECFG reads: eight tiles of 16 rows of 64 bytes.
struct TileConfiguration {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
alignas(64) constexpr TileConfiguration configuration{
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

bool processor_has_bf16_tiles() {
  constexpr unsigned bf16_and_tiles = 1U << 22 | 1U << 24;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & bf16_and_tiles) == bf16_and_tiles;
}

/// Linux saves the registers of those processes that ask for it.
bool system_permits_tiles() {
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/// Asks for a few lines at each of some steps.
class Prefetcher {
 public:
  Prefetcher(const AmxPrefetch& what, std::int64_t steps)
      : at_(static_cast<const char*>(what.first)),
        step_(what.step),
        left_(what.lines),
        at_once_((what.lines + steps - 1) / steps) {}
  void step() {
    const std::int64_t count = std::min(at_once_, left_);
    for (std::int64_t i = 0; i < count; ++i, at_ += step_) _mm_prefetch(at_, _MM_HINT_T1);
    left_ -= count;
  }

 private:
  const char* at_;
  std::int64_t step_;
  std::int64_t left_;
  std::int64_t at_once_;
};

// A constructor cannot have a target of its own.
WICK_AMX void configure() { _tile_loadconfig(&configuration); }
WICK_AMX void release() { _tile_release(); }

}  // namespace

bool AmxTiles::available() {
  static const bool result = processor_has_bf16_tiles() && system_permits_tiles();
  return result;
}

AmxTiles::AmxTiles() { configure(); }
AmxTiles::~AmxTiles() { release(); }

/// Blocks of 32 x 32 sums in four registers; the other four hold what is multiplied.
WICK_AMX void AmxTiles::run(const AmxProduct& p, const bfloat16* a, const bfloat16* b, float* c) const {
  constexpr std::int64_t half = amx_step / 2;
  const std::int64_t a_bytes = p.a_row * 2;
  const std::int64_t b_bytes = p.b_row * 2;
  const std::int64_t c_bytes = p.c_row * 4;
  const std::int64_t steps = p.m / amx_step * (p.n / amx_step) * (p.k / amx_step);
  Prefetcher next(p.next, steps);
  Prefetcher then(p.then, steps);
  WICK_AMX_FENCE();
  for (std::int64_t j = 0; j < p.n; j += amx_step)
    for (std::int64_t i = 0; i < p.m; i += amx_step) {
      float* upper = c + i * p.c_row + j;
      float* lower = upper + half * p.c_row;
      if (p.accumulate) {
        _tile_loadd(0, upper, c_bytes);
        _tile_loadd(1, upper + half, c_bytes);
        _tile_loadd(2, lower, c_bytes);
        _tile_loadd(3, lower + half, c_bytes);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      const bfloat16* rows = a + i * p.a_row;
      const bfloat16* pairs = b + 2 * j;
      for (std::int64_t depth = 0; depth < p.k; depth += amx_step) {
        _tile_loadd(4, rows, a_bytes);
        _tile_loadd(6, pairs, b_bytes);
        _tile_loadd(5, rows + half * p.a_row, a_bytes);
        _tile_loadd(7, pairs + 2 * half, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        next.step();
        then.step();
        rows += amx_step;
        pairs += half * p.b_row;
      }
      _tile_stored(0, upper, c_bytes);
      _tile_stored(1, upper + half, c_bytes);
      _tile_stored(2, lower, c_bytes);
      _tile_stored(3, lower + half, c_bytes);
    }
  WICK_AMX_FENCE();
}

}  // namespace wick

#else

namespace wick {

bool AmxTiles::available() { return false; }
AmxTiles::AmxTiles() { throw InternalError("this processor has no AMX"); }
AmxTiles::~AmxTiles() = default;
void AmxTiles::run(const AmxProduct&, const bfloat16*, const bfloat16*, float*) const {}

}  // namespace wick

#endif
