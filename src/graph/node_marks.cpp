#include "graph/node_marks.h"

#include <atomic>

namespace wick {
namespace {

std::atomic<bool> marking{false};  // whether some walk writes into nodes
std::uint64_t walks = 0;           // walks that did, guarded by `marking`

}  // namespace

NodeMarks::NodeMarks() {
  if (!marking.exchange(true, std::memory_order_acquire)) walk_ = ++walks;
}

NodeMarks::~NodeMarks() {
  if (walk_ != 0) marking.store(false, std::memory_order_release);
}

}  // namespace wick
