#pragma once

#include "wick/device.h"
#include "wick/dtype.h"

namespace wick {

/// The most floating-point operations a second that a matrix product reaches here in `dtype`, with the
/// threads that are set. Measured at first use (some ten milliseconds a dtype) and kept for the process; 0
/// where it is not known (devices other than the CPU).
double peak_flops(Device device, DType dtype);

/// Bytes a second that reading a large array reaches here. Measured likewise.
double peak_bandwidth(Device device);

}  // namespace wick
