#pragma once

#include <cstdlib>

#include "wick/device.h"

namespace wick::test {

/// Where tests of ops, models and training compute: WICK_TEST_DEVICE (`make test DEVICE=cuda`), else the CPU.
inline Device test_device() {
  static const Device device = [] {
    const char* name = std::getenv("WICK_TEST_DEVICE");
    return name ? device_from_name(name) : cpu;
  }();
  return device;
}

/// The first GPU, or the CPU where there is none.
inline Device first_gpu() {
  for (const DeviceInfo& info : devices())
    if (info.device.kind == DeviceKind::cuda) return info.device;
  return cpu;
}

}  // namespace wick::test

/// Skips the test, saying so, where there is no GPU.
#define WICK_NEEDS_GPU() \
  if (wick::test::first_gpu() == wick::cpu) GTEST_SKIP() << "there is no GPU here: " << wick::missing_gpu()
