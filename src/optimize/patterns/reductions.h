#pragma once

#include "optimize/pattern.h"

// What patterns over rows share.
namespace wick {

/// A value with one axis reduced to size 1: kept by the reduction, or put back by a reshape.
struct KeptPattern {
  explicit KeptPattern(const Pattern& reduced) : value(reduced), whole(either(op("reshape", value), value)) {}
  Pattern value;
  Pattern whole;

  /// The axis, given the reduction that `value` is, or comes from; -1 when there is not one, or it is gone.
  int axis(const Found& found, const Pattern& reduction) const;
};

/// The mean of `x` along an axis: the op, or the sum times or over a number.
class MeanPattern {
 public:
  explicit MeanPattern(const Pattern& x);
  const Pattern& value() const { return kept_.value; }
  const Pattern& whole() const { return kept_.whole; }
  /// The axis that the mean runs along; -1 when it is no mean along one.
  int axis(const Found& found) const { return axis(found, kept_); }
  /// The same where `kept` puts the axis back behind ops of the mean.
  int axis(const Found& found, const KeptPattern& kept) const;

 private:
  Pattern mean_;
  Pattern sum_;
  Pattern count_;
  Pattern share_;
  KeptPattern kept_;
};

/// Whether `value` is `exact` as a float holds it.
bool is_about(double value, double exact);

}  // namespace wick
