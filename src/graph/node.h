#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "core/completion.h"
#include "core/layout.h"
#include "core/storage.h"
#include "graph/op.h"
#include "wick/tensor.h"

namespace wick {

/// Data of an evaluated node. `completion` is null once nobody needs to wait.
struct Value {
  std::shared_ptr<Storage> storage;
  Layout layout;
  std::shared_ptr<Completion> completion;

  bool ready() const noexcept { return !completion || completion->done(); }
};

/// A recorded op, or data (op == nullptr). Immutable but for two one-way steps: publishing its value, and
/// forgetting its inputs when nobody can reach them any more. Counted by reference; freeing a graph is a
/// loop, not recursion.
class Node {
 public:
  /// `inputs` are copied: a range of tensors, or of references to them.
  template <typename Range>
  static Node* make(const Op* op, const Attrs& attrs, const Range& inputs, const Spec& spec, Device device,
                    SourceLocation where) {
    Node* node = allocate(op, attrs, inputs.size(), spec, device, where);
    Tensor* slot = node->inputs();
    for (const Tensor& input : inputs) new (slot++) Tensor(input);
    return node;
  }
  static Node* make_data(Value value, DType dtype, Device device, SourceLocation where = {});

  /// A new reference to `node`.
  static Tensor handle(const Node* node) noexcept {
    node->retain();
    return Tensor(const_cast<Node*>(node));
  }

  /// Says that the node is a number which many expressions share: whoever holds it, holds it for the next
  /// expression, not to ask for a gradient. To be called before any other thread knows the node.
  void share_number() noexcept { shared_number_ = true; }
  bool is_shared_number() const noexcept { return shared_number_; }
  /// Says that the node lives as long as the process, so that its references need not be counted. To be
  /// called before any other thread knows the node, by who keeps it.
  void live_for_good() noexcept { lives_for_good_ = true; }

  const Op* op() const noexcept { return op_; }
  const Attrs& attrs() const noexcept { return attrs_; }
  const Shape& shape() const noexcept { return shape_; }
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept { return device_; }
  SourceLocation where() const noexcept { return where_; }

  /// The value, or null while there is none.
  const Value* value() const noexcept { return value_.load(std::memory_order_acquire); }
  /// Publishes the value; the first one stays (evaluations of the same node give the same bits).
  void publish(std::unique_ptr<Value> value) const noexcept;

  /// Calls f(input) for each; false where they were forgotten (then there is a value). An input stays while f
  /// looks at it, whatever other threads forget; to keep it longer, f copies it.
  template <typename F>
  bool each_input(const F& f) const {
    lock();
    const bool there = !forgotten_;
    if (there)
      for (std::uint32_t i = 0; i < input_count_; ++i) f(static_cast<const Tensor&>(inputs()[i]));
    unlock();
    return there;
  }
  std::size_t input_count() const noexcept { return input_count_; }
  bool has_forgotten() const noexcept { return forgotten_.load(std::memory_order_acquire); }
  /// Drops the inputs of a node with a value.
  void forget_inputs() const;

  /// A mark that walks leave; see NodeMarks.
  struct Mark {
    std::uint64_t walk = 0;
    std::uint32_t index = 0;
  };
  Mark& mark() const noexcept { return mark_; }

  void retain() const noexcept {
    if (!lives_for_good_) references_.fetch_add(1, std::memory_order_relaxed);
  }
  void release() const noexcept {
    if (lives_for_good_) return;
    // The only reference is nobody else's to copy: it goes without a write that other cores must see.
    if (references() == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
  }
  std::uint32_t references() const noexcept { return references_.load(std::memory_order_acquire); }

 private:
  Node(const Op* op, const Attrs& attrs, std::size_t inputs, const Spec& spec, Device device,
       SourceLocation where)
      : dtype_(spec.dtype),
        device_(device),
        input_count_(static_cast<std::uint32_t>(inputs)),
        op_(op),
        where_(where),
        shape_(spec.shape),
        attrs_(attrs) {}
  ~Node() = default;
  /// A node whose input slots are not constructed yet.
  static Node* allocate(const Op* op, const Attrs& attrs, std::size_t inputs, const Spec& spec, Device device,
                        SourceLocation where);
  static void destroy(const Node* node) noexcept;
  // The inputs lie behind the node, in the same allocation.
  Tensor* inputs() const noexcept {
    return reinterpret_cast<Tensor*>(const_cast<Node*>(this) + 1);
  }  // NOLINT
  void lock() const noexcept;
  void unlock() const noexcept { lock_.store(false, std::memory_order_release); }

  mutable std::atomic<std::uint32_t> references_{1};
  mutable std::atomic<bool> lock_{false};
  mutable std::atomic<bool> forgotten_{false};
  bool shared_number_ = false;
  bool lives_for_good_ = false;
  DType dtype_;
  Device device_;
  std::uint32_t input_count_;
  const Op* op_;
  mutable std::atomic<const Value*> value_{nullptr};
  mutable Mark mark_;
  SourceLocation where_;
  Shape shape_;
  Attrs attrs_;
};

}  // namespace wick
