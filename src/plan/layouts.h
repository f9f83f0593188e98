#pragma once

#include <cstdint>
#include <unordered_map>

#include "backend/backend.h"
#include "optimize/graph.h"

namespace wick {

/// Whether a kernel that takes `layouts` reads this one.
bool accepts(InputLayouts layouts, const Layout& layout);

/// The nodes whose step writes its rows in another order, because its kernel can and fewer readers have to
/// copy the result then: a product that reads the heads of attention side by side needs none.
std::unordered_map<std::uint32_t, Layout> row_orders(const Graph& graph, const Backend& backend);

}  // namespace wick
