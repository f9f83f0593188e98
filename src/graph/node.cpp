#include "graph/node.h"

#include <new>
#include <thread>

#include "core/block_pool.h"

namespace wick {

Node* Node::allocate(const Op* op, const Attrs& attrs, std::size_t inputs, const Spec& spec, Device device,
                     SourceLocation where) {
  static_assert(sizeof(Node) % alignof(Tensor) == 0);
  void* memory = block_pool::take(sizeof(Node) + inputs * sizeof(Tensor));
  return new (memory) Node(op, attrs, inputs, spec, device, where);
}

Node* Node::make_data(Value value, DType dtype, Device device, SourceLocation where) {
  Node* node = allocate(nullptr, {}, 0, {value.layout.shape, dtype}, device, where);
  node->value_.store(new Value(std::move(value)), std::memory_order_release);
  return node;
}

void Node::publish(std::unique_ptr<Value> value) const noexcept {
  const Value* expected = nullptr;
  if (value_.compare_exchange_strong(expected, value.get(), std::memory_order_acq_rel))
    static_cast<void>(value.release());
}

void Node::lock() const noexcept {
  while (lock_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
}

void Node::forget_inputs() const {
  std::vector<Tensor> dropped;
  dropped.reserve(input_count_);
  lock();
  if (!forgotten_) {
    for (std::uint32_t i = 0; i < input_count_; ++i) dropped.push_back(std::move(inputs()[i]));
    forgotten_ = true;
  }
  unlock();
}

void Node::destroy(const Node* first) noexcept {
  // Dropping the last reference to an input comes back here; it is put on the list of the outermost call
  // instead of recursing.
  thread_local std::vector<const Node*>* active = nullptr;
  if (active) {
    active->push_back(first);
    return;
  }
  std::vector<const Node*> pending{first};
  active = &pending;
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    for (std::uint32_t i = 0; i < node->input_count_; ++i) node->inputs()[i].~Tensor();
    delete node->value_.load(std::memory_order_relaxed);
    const std::size_t bytes = sizeof(Node) + node->input_count_ * sizeof(Tensor);
    node->~Node();
    block_pool::give(const_cast<Node*>(node), bytes);
  }
  active = nullptr;
}

}  // namespace wick
