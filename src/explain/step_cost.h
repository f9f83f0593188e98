#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace wick {

/// What a step takes, whatever the hardware.
struct StepCost {
  double flops = 0;
  double bytes = 0;          ///< each input read once, the output written once
  DType dtype = DType::f32;  ///< that it computes in: the first floating input's
};
/// Of the results behind the first.
std::vector<Spec> more_results(const Plan& plan, const Step& step);

StepCost cost_of(const Plan& plan, const Step& step);

/// No step can take less than its FLOPs at the peak rate of its dtype, nor less than its bytes at the rate of
/// memory (unless they lie in a cache). 0 where the device's ceilings are not known.
double floor_seconds(const StepCost& cost, Device device);

/// The op of a step: the node's, or that of the copy that it asked for.
const Op& op_of(const Plan& plan, const Step& step);
/// The nodes that a step reads.
std::vector<std::uint32_t> operands_of(const Plan& plan, const Step& step);

}  // namespace wick
