#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>

#include "core/small_vector.h"

namespace wick {

class Kernel;

/// An address that becomes known when a plan runs: a byte offset from one of its bases.
struct Address {
  std::uint32_t base = 0;
  std::uint64_t offset = 0;
};

/// An input of a step that its kernel takes packed: the bytes of a leaf, whose packed copies are looked for.
struct PackedInput {
  std::uint32_t input = 0;  ///< which of the step's
  std::uint32_t leaf = 0;
  Address place;  ///< where it is packed when no copy is kept
};

/// One prepared kernel and its operands.
struct Step {
  std::unique_ptr<Kernel> kernel;
  SmallVector<Address, 3> inputs;
  Address output;
  SmallVector<Address, 3> more_outputs;  ///< of an op of several results: those behind the first
  Address scratch;
  SmallVector<PackedInput, 1> packed;
  std::uint32_t node = 0;  ///< position in Plan::graph, for messages and profiles
  /// For a row-major copy that `node` asked for: the node whose value is copied.
  std::uint32_t copied = no_copy;

  static constexpr std::uint32_t no_copy = ~std::uint32_t{0};
  bool is_copy() const noexcept { return copied != no_copy; }
  /// The node whose value this step writes.
  std::uint32_t value() const noexcept { return is_copy() ? copied : node; }
};

/// Bytes of the host's memory that go to a device's.
struct Transfer {
  const void* host = nullptr;
  std::byte* to = nullptr;
  std::size_t bytes = 0;
};

/// What a step found wrong with its data, and which step it was.
struct StepFault {
  std::uint32_t step = 0;
  std::exception_ptr error;
};

/// Looks on while a plan runs; each member is called on the thread that runs it.
class StepWatcher {
 public:
  virtual ~StepWatcher() = default;
  virtual void begin_step(std::size_t step) = 0;
  /// `output` is the address of what the step wrote, row-major.
  virtual void end_step(std::size_t step, const std::byte* output) = 0;
};

/// What a plan does with the memory behind one of its bases.
struct BaseUse {
  std::uint64_t bytes = 0;
  bool is_result = false;
  /// Whether the steps may find these bytes at another address: small values that are wholly read or wholly
  /// written, row-major from the base on.
  bool movable = false;
};

/// A run of a program that goes on. Used by the thread that started it.
class RunningProgram {
 public:
  /// Waits for the end if nobody did.
  virtual ~RunningProgram() = default;
  /// Waits some microseconds; whether the run is over.
  virtual bool wait_briefly() = 0;
  /// Waits for the end (once). Throws StepFault for bad data, other errors as they are.
  virtual void wait() = 0;
};

/// The steps of a plan made ready as a whole, where a backend runs them better so than one by one.
/// Thread-safe.
class Program {
 public:
  virtual ~Program() = default;
  /// Makes the transfers, then runs all steps. `bases` as for Plan::start. Runs that one thread starts take
  /// place one after the other. Null when the run is over already, as it is with watchers: then steps run one
  /// by one, each waited for. Throws as RunningProgram::wait does.
  virtual std::unique_ptr<RunningProgram> start(std::span<std::byte* const> bases,
                                                std::span<const Transfer> transfers,
                                                std::span<StepWatcher* const> watchers) const = 0;
  /// Gives back the memory that is kept for further runs, where none goes on.
  virtual void release_kept_memory() const {}
};

}  // namespace wick
