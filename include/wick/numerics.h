#pragma once

namespace wick {

/// While one lives, evaluations that this thread starts look at every number they compute, and stop with a
/// NumericError at the first op that makes NaN or infinity of finite operands: the message names the op, its
/// operands with their ranges, and the line that recorded it. An operand that is NaN before the evaluation
/// begins is reported as such. Infinities that were there already (a mask of -inf) may pass through.
///
/// For debugging: ops are not fused, values are read once more (those of a GPU are copied to the host, and
/// each op is waited for), and graphs that were recorded on different lines are planned apart. Composite ops
/// with a kernel of their own count as one op.
class NumericCheckScope {
 public:
  NumericCheckScope() noexcept;
  ~NumericCheckScope();
  NumericCheckScope(const NumericCheckScope&) = delete;
  NumericCheckScope& operator=(const NumericCheckScope&) = delete;

 private:
  bool previous_;
};

/// The same for all evaluations of the process from now on. The environment variable WICK_CHECK_NUMERICS=1
/// (read once) does so from the start.
void set_numeric_checks(bool on) noexcept;
/// Whether evaluations that this thread starts are checked.
bool numeric_checks() noexcept;

}  // namespace wick
