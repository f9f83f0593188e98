#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "plan/plan.h"

namespace wick {

/// What the elements of a floating tensor are like.
struct NumericRange {
  double low =
      std::numeric_limits<double>::infinity();  ///< of the finite elements; above `high`: there is none
  double high = -std::numeric_limits<double>::infinity();
  std::uint64_t nans = 0;
  std::uint64_t infinities = 0;
  std::uint64_t elements = 0;
};

/// Looks at what each step of a plan writes; what is not in the host's memory is copied there. Throws
/// NumericError at the first step whose result holds NaN or infinity although its operands do not.
class NumericWatcher final : public StepWatcher {
 public:
  /// `bases` as for Plan::start. Throws NumericError when a leaf is NaN already.
  NumericWatcher(const Plan& plan, const Backend& backend, std::span<std::byte* const> bases);

  void begin_step(std::size_t) override {}
  void end_step(std::size_t step, const std::byte* output) override;

 private:
  NumericRange range(const std::byte* data, const Layout& layout, DType dtype, bool on_host);

  const Plan& plan_;
  const Backend& backend_;
  std::vector<std::byte> copied_;
  std::vector<NumericRange> ranges_;  // by position in the plan's graph
};

}  // namespace wick
