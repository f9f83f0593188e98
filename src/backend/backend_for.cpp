#include "backend/backend.h"
#include "backend/cuda/backend.h"
#include "wick/error.h"

namespace wick {

const Backend& backend_for(Device device) {
  if (device.kind == DeviceKind::cpu) return cpu_backend();
  return cuda::backend(device.index);
}

}  // namespace wick
