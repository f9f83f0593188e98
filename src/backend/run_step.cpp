#include "backend/run_step.h"

#include "backend/backend.h"

namespace wick {

void run_step(const Step& step, const void* const* inputs, std::span<std::byte* const> bases) {
  if (step.more_outputs.empty()) {
    step.kernel->run(inputs, resolve(step.output, bases), resolve(step.scratch, bases));
    return;
  }
  SmallVector<void*, 4> outputs{resolve(step.output, bases)};
  for (const Address& output : step.more_outputs) outputs.push_back(resolve(output, bases));
  step.kernel->run_results(inputs, outputs.data(), resolve(step.scratch, bases));
}

}  // namespace wick
