#pragma once

#include "backend/backend.h"

namespace wick {

/// x W^T + bias in one step, for f32 and bf16 x; next to f32 x the weight may be bf16 or f16 and is read as
/// stored.
bool supports_linear(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_linear(const KernelRequest& request);

/// The same of one dtype, for more rows than one, with an epilogue.
bool supports_linear_epilogue(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_linear_epilogue(const KernelRequest& request);

}  // namespace wick
