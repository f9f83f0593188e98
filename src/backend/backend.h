#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backend/step.h"
#include "core/layout.h"
#include "core/storage.h"
#include "graph/elementwise_group.h"
#include "graph/op.h"

namespace wick {

/// A tensor as a kernel sees it while it is prepared: everything but the address.
struct Slot {
  DType dtype = DType::f32;
  Layout layout;
  bool is_weight = false;   ///< data that many evaluations read and none overwrites
  std::uint32_t value = 0;  ///< of an input: equal where a request's inputs are one value

  const Shape& shape() const noexcept { return layout.shape; }
};

/// One op on slots of known dtype and layout. The output is row-major, or its rows lie in another order where
/// the entry takes that; it has no gaps.
struct KernelRequest {
  const Op& op;
  const Attrs& attrs;
  std::span<const Slot> inputs;
  Slot output;
  /// Of an elementwise_group, whose results have one shape, or an elementwise_batch. `output` is the first
  /// result.
  const ElementwiseGroup* group = nullptr;
  std::uint64_t packing_budget = 0;  ///< bytes that packed copies of weights may take
};

/// An input that a kernel takes in a form of its own, which is made once where the memory allows it.
struct Packing {
  std::uint32_t input = 0;  ///< which; its slot is a weight
  std::size_t bytes = 0;    ///< of the packed form
  std::string format;       ///< equal where the same bytes, packed, give the same bytes
};

/// A prepared kernel: what depends on shapes and layouts was done once. `run` is const and thread-safe; it
/// gets the address of each input's first element (its offset applied), of the output, and of `scratch_bytes`
/// of 64-byte aligned scratch memory. Bad data (an index out of range) is reported by throwing ArgumentError.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const void* const* inputs, void* output, void* scratch) const = 0;
  /// The same for a node of several results; kernels of other ops never get this call.
  virtual void run_results(const void* const* inputs, void* const* outputs, void* scratch) const {
    run(inputs, outputs[0], scratch);
  }
  virtual std::size_t scratch_bytes() const { return 0; }
  /// Inputs that `run` gets as `pack` writes them.
  virtual std::span<const Packing> packings() const { return {}; }
  virtual void pack(const Packing&, const void*, void*) const {}
};

/// Input layouts that a kernel takes; the planner inserts a copy for anything else.
enum class InputLayouts : std::uint8_t {
  contiguous,  ///< row-major only
  strided,     ///< any strides, 0 (broadcast) and negative ones included
  matrix,  ///< any strides of the leading dimensions; of the last two one has stride 1 and the other is no
           ///< smaller than its extent (or both rows and columns are degenerate)
};

/// A backend's entry for one op.
struct KernelEntry {
  std::string_view op;
  std::unique_ptr<Kernel> (*prepare)(const KernelRequest&);
  InputLayouts layouts = InputLayouts::contiguous;
  /// The output may take the place of an input of equal size and layout that dies here.
  bool in_place = false;
  /// Whether this entry takes the request; null means always. A primitive op whose entry refuses is an error
  /// that names op and dtype; a composite op is decomposed.
  bool (*supports)(const KernelRequest&) = nullptr;
  /// The output's rows, along its last dimension, may lie in any order of the other dimensions.
  bool any_row_order = false;
};

/// Bytes of a device's memory.
struct MemoryUse {
  std::uint64_t held = 0;  ///< by results and arenas that live
  std::uint64_t kept = 0;  ///< given back, and kept for the next
  std::uint64_t peak = 0;  ///< the most that was held since the last reset
  std::uint64_t free = 0;  ///< what the system could still give; the largest number where nobody knows
};

/// While one lives, what this thread asks of kernels (whether there is one, preparing it) is about the device
/// of the backend that gave it.
class DeviceScope {
 public:
  virtual ~DeviceScope() = default;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// Null where all devices of the kind are alike.
  virtual std::unique_ptr<DeviceScope> use_device() const { return nullptr; }
  /// The entry for an op, or null.
  virtual const KernelEntry* find(const Op& op) const = 0;
  /// Whether an elementwise op on these dtypes can be part of an elementwise_group.
  virtual bool can_group(const Op& op, InputSpecs inputs, const Spec& output) const = 0;
  /// How many results an elementwise_group may have.
  virtual std::size_t most_group_results() const { return 1; }
  /// Uninitialised memory. Throws MemoryError that states the bytes asked for and those held.
  virtual std::shared_ptr<Storage> allocate(std::size_t bytes) const = 0;
  /// Copies between the host's memory and this backend's; returns when the copy is done.
  virtual void upload(const void* host, std::byte* to, std::size_t bytes) const = 0;
  virtual void download(const std::byte* from, void* host, std::size_t bytes) const = 0;
  /// The steps as a whole, or null: then they are run one by one. `steps` outlive the program; `bases` says
  /// what they do with each.
  virtual std::unique_ptr<Program> make_program(std::span<const Step> steps,
                                                std::span<const BaseUse> bases) const = 0;
  /// What evaluations hold of the device's memory.
  virtual MemoryUse memory_use() const = 0;
  virtual void reset_peak() const = 0;
  /// Returns memory that is kept for later to the system.
  virtual void release_kept_memory() const = 0;
};

const Backend& cpu_backend();
/// The backend of a device. Throws DeviceError when this build or machine has none.
const Backend& backend_for(Device device);

}  // namespace wick
