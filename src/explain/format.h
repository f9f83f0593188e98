#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "wick/explain.h"

// Numbers and names as the renderings of an explanation write them.
namespace wick {

/// "1.5 GFLOP", "12.3 MiB", "45.6 us"
std::string flops_text(double flops);
std::string bytes_text(double bytes);
std::string seconds_text(double seconds);

/// "cpu, 2 threads", "cuda:0"
std::string device_text(const Explanation& explanation);
/// "f32[2, 3]"
std::string spec_text(DType dtype, const Shape& shape);
/// "arena + 4096", "input 3", "result 0 + 64"
std::string place_text(const ExplainedPlace& place);
/// Where the results of a step lie, and whether in place of an operand.
std::string places_text(const ExplainedStep& step);
/// "decoder.cpp:42"; empty when the line is not known.
std::string line_text(const ExplainedOrigin& origin);
/// "gradient of model.layers.3/mlp"; a dash for what belongs to no part.
std::string part_text(const ExplainedOrigin& origin);

/// At most `most` characters of a text, with dots where some were left out.
std::string shortened(const std::string& text, std::size_t most);
/// For XML and HTML.
std::string escaped(std::string_view text);

}  // namespace wick
