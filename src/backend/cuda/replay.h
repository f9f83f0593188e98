#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/replay_choice.h"
#include "backend/cuda/replay_kernels.h"
#include "backend/step.h"
#include "core/storage.h"

namespace wick::cuda {

/// A plan's steps as a CUDA graph. It is of the addresses that it was captured with, but for those that are
/// moved. Its launches in flight are on one stream. Guarded by its owner, but for `over`.
class Replay {
 public:
  /// Launches the steps at these addresses, as part of the current launch.
  using Steps = std::function<void(std::span<std::byte* const> bases)>;

  explicit Replay(int device) : device_(device) {}
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  /// Captures the steps anew. Nothing may be in flight. `transfers` are the sizes and targets of those that
  /// each launch makes.
  void capture(std::span<std::byte* const> bases, MovedBases moved, std::span<const Transfer> transfers,
               cudaStream_t stream, const Steps& steps);
  bool can_launch(cudaStream_t stream) const {
    return in_flight_ == 0 || (stream == stream_ && in_flight_ < replay_depth);
  }
  bool in_flight() const { return in_flight_ > 0; }

  /// A launch; `number` is for `over` and `end`.
  unsigned int launch(std::span<std::byte* const> bases, std::span<const Transfer> transfers);
  /// Whether launch `number` is over.
  bool over(unsigned int number) const;
  /// To be called once for each launch, when it is over; gives what its kernels reported.
  Fault end(unsigned int number);
  cudaStream_t stream() const { return stream_; }
  /// Launches go there from now on. None may be in flight elsewhere.
  void use(cudaStream_t stream) { stream_ = stream; }

 private:
  void make_room(std::size_t transfers, std::uint64_t staged_bytes);
  std::vector<std::byte*> fixed_addresses(std::span<std::byte* const> bases);
  void destroy_graph();

  const int device_;
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
  MovedBases moved_;
  ReplayMemory shared_;
  std::shared_ptr<Storage> memory_;  // the state, the arrived slot, then the fixed places
  std::vector<std::byte*> places_;   // of the moved bases

  std::byte* pinned_ = nullptr;  // ends, then slots
  std::size_t pinned_bytes_ = 0;
  unsigned int moves_ = 0;
  std::uint64_t list_bytes_ = 0;  // of a slot, ahead of what it brings along

  unsigned int launched_ = 0;
  unsigned int in_flight_ = 0;
};

}  // namespace wick::cuda
