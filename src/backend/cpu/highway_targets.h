#pragma once

// Include before any Highway header. Wick wants AVX2 or better (AVX-512 where there is) on x86, NEON on ARM;
// leaving the other instruction sets out halves the time to compile. The fallback is scalar code, which is
// all that gcc 12 has (Highway takes it to miscompile emulated vectors); clang 14 would spend minutes on
// emulated ones.
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
