#pragma once

#include "wick/device.h"
#include "wick/dtype.h"

namespace wick {

/// The most floating-point operations a second that a matrix product reaches on a device in `dtype`, on a CPU
/// with the threads that are set. Measured at first use (some ten milliseconds a dtype; on a GPU with memory
/// of it, which `peak_bytes` counts) and kept for the process; 0 where that does not exist or there is no
/// memory to measure.
double peak_flops(Device device, DType dtype);

/// Bytes a second that reading a large array reaches. Measured likewise.
double peak_bandwidth(Device device);

}  // namespace wick
