#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "core/layout.h"
#include "core/storage.h"
#include "graph/elementwise_group.h"
#include "graph/op.h"

namespace wick {

/// A tensor as a kernel sees it while it is prepared: everything but the address.
struct Slot {
  DType dtype = DType::f32;
  Layout layout;

  const Shape& shape() const noexcept { return layout.shape; }
};

/// One op on slots of known dtype and layout. The output is contiguous.
struct KernelRequest {
  const Op& op;
  const Attrs& attrs;
  std::span<const Slot> inputs;
  Slot output;
  const ElementwiseGroup* group = nullptr;  ///< of an elementwise_group
};

/// A prepared kernel: what depends on shapes and layouts was done once. `run` is const and thread-safe; it
/// gets the address of each input's first element (its offset applied), of the output, and of `scratch_bytes`
/// of 64-byte aligned scratch memory. Bad data (an index out of range) is reported by throwing ArgumentError.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const void* const* inputs, void* output, void* scratch) const = 0;
  virtual std::size_t scratch_bytes() const { return 0; }
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
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// The entry for an op, or null.
  virtual const KernelEntry* find(const Op& op) const = 0;
  /// Whether an elementwise op on these dtypes can be part of an elementwise_group.
  virtual bool can_group(const Op& op, InputSpecs inputs, const Spec& output) const = 0;
  virtual std::shared_ptr<Storage> allocate(std::size_t bytes) const = 0;
};

/// The backend of a device. Throws DeviceError when this build or machine has none.
const Backend& backend_for(Device device);

}  // namespace wick
