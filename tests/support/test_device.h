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

}  // namespace wick::test
