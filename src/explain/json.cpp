#include <nlohmann/json.hpp>

#include "wick/explain.h"

namespace wick {
namespace {

using nlohmann::json;

json dims_of(const Shape& shape) {
  return std::vector<std::int64_t>(shape.dims().begin(), shape.dims().end());
}

void put_origin(json& to, const ExplainedOrigin& origin) {
  to["part"] = origin.part;
  to["gradient"] = origin.gradient;
  if (origin.line > 0) {
    to["file"] = origin.file;
    to["line"] = origin.line;
  }
}

json place_of(const ExplainedPlace& place) {
  switch (place.kind) {
    case ExplainedPlace::Kind::arena: return {{"in", "arena"}, {"offset", place.offset}};
    case ExplainedPlace::Kind::input:
      return {{"in", "input"}, {"number", place.number}, {"offset", place.offset}};
    case ExplainedPlace::Kind::result:
      return {{"in", "result"}, {"number", place.number}, {"offset", place.offset}};
  }
  return {};
}

json node_of(const ExplainedNode& node) {
  json out{{"op", node.op},
           {"attributes", node.attributes},
           {"shape", dims_of(node.shape)},
           {"dtype", name_of(node.dtype)},
           {"inputs", node.inputs}};
  put_origin(out, node.origin);
  return out;
}

json step_of(const ExplainedStep& step) {
  auto operands = json::array();
  for (const ExplainedOperand& operand : step.operands) {
    json one{{"shape", dims_of(operand.shape)},
             {"dtype", name_of(operand.dtype)},
             {"place", place_of(operand.place)}};
    if (operand.step) one["step"] = *operand.step;
    operands.push_back(std::move(one));
  }
  auto more_results = json::array();
  for (const ExplainedResult& more : step.more_results)
    more_results.push_back(
        {{"shape", dims_of(more.shape)}, {"dtype", name_of(more.dtype)}, {"place", place_of(more.place)}});
  json out{{"op", step.op},
           {"attributes", step.attributes},
           {"operands", std::move(operands)},
           {"shape", dims_of(step.shape)},
           {"dtype", name_of(step.dtype)},
           {"place", place_of(step.place)},
           {"more_results", std::move(more_results)},
           {"last_use", step.last_use},
           {"in_place", step.in_place},
           {"flops", step.flops},
           {"bytes", step.bytes},
           {"floor_seconds", step.floor_seconds}};
  put_origin(out, step.origin);
  return out;
}

template <typename T, typename F>
json list_of(const std::vector<T>& items, F convert) {
  auto list = json::array();
  for (const T& item : items) list.push_back(convert(item));
  return list;
}

}  // namespace

std::string Explanation::json() const {
  const nlohmann::json out{{"title", title},
                           {"device", device},
                           {"threads", threads},
                           {"flops", flops()},
                           {"bytes", bytes()},
                           {"floor_seconds", floor_seconds()},
                           {"peak_bytes", peak_bytes()},
                           {"arena_bytes", arena_bytes},
                           {"result_bytes", result_bytes},
                           {"input_bytes", input_bytes},
                           {"peak_flops", peak_flops},
                           {"peak_bandwidth", peak_bandwidth},
                           {"graph", {{"nodes", list_of(graph, node_of)}, {"outputs", outputs}}},
                           {"passes", list_of(passes,
                                              [](const ExplainedPass& pass) {
                                                return nlohmann::json{{"name", pass.name},
                                                                      {"milliseconds", pass.milliseconds},
                                                                      {"nodes_before", pass.nodes_before},
                                                                      {"nodes_after", pass.nodes_after},
                                                                      {"changes", pass.changes}};
                                              })},
                           {"steps", list_of(steps, step_of)}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace wick
