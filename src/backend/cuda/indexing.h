#pragma once

#include <memory>

#include "backend/backend.h"

namespace wick::cuda {

std::unique_ptr<Kernel> prepare_take(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_take_along_axis(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_index_add(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_scatter_add(const KernelRequest& request);
std::unique_ptr<Kernel> prepare_scatter(const KernelRequest& request);

}  // namespace wick::cuda
