#pragma once

#include <span>
#include <string>

#include "wick/trainer.h"

namespace wick {

/// A chart of the loss over the steps as one self-contained SVG file: training loss, its moving average, and
/// validation loss where there is one. Its colours follow the viewer's light or dark theme. Losses that are
/// not finite, or beyond 1e30, are left out; a run too long for the width of the chart is thinned, so that
/// the file stays below a megabyte.
std::string loss_curve_svg(std::span<const StepMetrics> rows);

}  // namespace wick
