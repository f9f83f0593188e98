#pragma once

#include "backend/backend.h"

namespace wick {

/// The shape of the elements of a reduction_group: what its inputs broadcast to.
inline Shape shape_of_elements(const KernelRequest& request) {
  Shape shape = request.inputs[0].shape();
  for (const Slot& input : request.inputs) shape = broadcast_shapes(shape, input.shape());
  return shape;
}

}  // namespace wick
