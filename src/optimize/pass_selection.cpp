#include "optimize/pass_selection.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "optimize/pipeline.h"
#include "wick/error.h"
#include "wick/optimize.h"

namespace wick {
namespace {

/// Where the pipeline lists this name first, or the number of passes.
std::size_t first_position(std::string_view name) {
  const std::span<const Pass> passes = pipeline();
  std::size_t i = 0;
  while (i < passes.size() && passes[i].name != name) ++i;
  return i;
}

std::string optional_names(std::string_view prefix) {
  std::string names;
  const std::span<const Pass> passes = pipeline();
  for (std::size_t i = 0; i < passes.size(); ++i)
    if (!passes[i].required && first_position(passes[i].name) == i)
      names += fmt::format("{}{}{}", names.empty() ? "" : " ", prefix, passes[i].name);
  return names;
}

/// The bit of an optional pass, or 0.
std::uint64_t bit_of(std::string_view name) {
  const std::size_t i = first_position(name);
  return i < pipeline().size() && !pipeline()[i].required ? std::uint64_t{1} << i : 0;
}

std::uint64_t parse_environment() {
  const char* text = std::getenv("WICK_PASSES");
  std::string_view rest = text ? text : "";
  std::uint64_t disabled = 0;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    const std::uint64_t bit = item.starts_with('-') ? bit_of(item.substr(1)) : 0;
    if (bit == 0)
      throw ArgumentError(fmt::format("WICK_PASSES: \"{}\" is not one of {}", item, optional_names("-")));
    disabled |= bit;
  }
  return disabled;
}

thread_local std::uint64_t disabled_by_scopes = 0;

}  // namespace

std::uint64_t disabled_passes() {
  static const std::uint64_t disabled_by_environment = parse_environment();
  return disabled_by_environment | disabled_by_scopes;
}

bool is_disabled(std::uint64_t disabled, std::size_t index) {
  return is_disabled(disabled, pipeline()[index].name);
}

bool is_disabled(std::uint64_t disabled, std::string_view name) { return (disabled & bit_of(name)) != 0; }

std::vector<PassInfo> optimizer_passes() {
  std::vector<PassInfo> list;
  for (const Pass& pass : pipeline()) list.push_back({pass.name, pass.required});
  return list;
}

DisablePassesScope::DisablePassesScope(std::span<const std::string_view> names)
    : previous_(disabled_by_scopes) {
  std::uint64_t added = 0;
  for (std::string_view name : names) {
    const std::uint64_t bit = bit_of(name);
    if (bit == 0)
      throw ArgumentError(fmt::format("the optimiser has no pass \"{}\" that can be disabled; it has {}",
                                      name, optional_names("")));
    added |= bit;
  }
  disabled_by_scopes |= added;
}

DisablePassesScope::~DisablePassesScope() { disabled_by_scopes = previous_; }

}  // namespace wick
