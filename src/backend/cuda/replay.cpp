#include "backend/cuda/replay.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "backend/cuda/allocator.h"
#include "backend/cuda/check.h"
#include "backend/cuda/launch.h"

namespace wick::cuda {
namespace {

constexpr std::uint64_t padded(std::uint64_t bytes) { return (bytes + 255) / 256 * 256; }
/// As slots are read.
constexpr std::uint64_t padded_in_slot(std::uint64_t bytes) { return (bytes + 15) / 16 * 16; }

std::uint64_t staged(std::span<const Transfer> transfers) {
  std::uint64_t bytes = 0;
  for (const Transfer& t : transfers) bytes += padded_in_slot(t.bytes);
  return bytes;
}

template <typename Range, typename Bytes>
std::uint64_t largest(const Range& range, const Bytes& bytes) {
  std::uint64_t most = 0;
  for (const auto& element : range) most = std::max<std::uint64_t>(most, bytes(element));
  return most;
}

}  // namespace

Replay::~Replay() {
  destroy_graph();
  cudaFreeHost(pinned_);
}

void Replay::destroy_graph() {
  if (graph_) cudaGraphExecDestroy(graph_);
  graph_ = nullptr;
}

/// Pinned memory for the launches in flight, cleared, since the counts begin anew.
void Replay::make_room(std::size_t transfers, std::uint64_t staged_bytes) {
  const auto is_moved = [](std::uint64_t bytes) { return bytes > 0; };
  moves_ = static_cast<unsigned int>(transfers +
                                     static_cast<std::size_t>(std::ranges::count_if(moved_.bytes, is_moved)));
  list_bytes_ = padded_in_slot(sizeof(Move) * moves_);
  shared_.slot_bytes = list_bytes_ + staged_bytes;
  const std::uint64_t ends_bytes = padded(sizeof(ReplayEnd) * replay_depth);
  const std::uint64_t bytes = ends_bytes + shared_.slot_bytes * replay_depth;
  if (bytes > pinned_bytes_) {
    destroy_graph();  // it knows the old addresses
    cudaFreeHost(pinned_);
    pinned_ = nullptr;
    pinned_bytes_ = 0;
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocMapped), "allocating pinned memory");
    pinned_ = static_cast<std::byte*>(memory);
    pinned_bytes_ = bytes;
  }
  shared_.ends = new (pinned_) ReplayEnd[replay_depth];
  shared_.slots = pinned_ + ends_bytes;
}

/// Gives the moved bases their places; the addresses that the graph works on.
std::vector<std::byte*> Replay::fixed_addresses(std::span<std::byte* const> bases) {
  const std::uint64_t first_place = padded(sizeof(ReplayState)) + padded(shared_.slot_bytes);
  std::uint64_t bytes = first_place;
  for (std::uint64_t b : moved_.bytes) bytes += padded(b);
  if (!memory_ || memory_->bytes() < bytes) memory_ = allocator_of(device_).allocate(bytes);
  std::vector<std::byte*> addresses(bases.begin(), bases.end());
  places_.assign(bases.size(), nullptr);
  shared_.state = reinterpret_cast<ReplayState*>(memory_->data());
  shared_.arrived = memory_->data() + padded(sizeof(ReplayState));
  std::byte* place = memory_->data() + first_place;
  for (std::size_t b = 0; b < bases.size(); ++b) {
    if (moved_.bytes[b] == 0) continue;
    addresses[b] = places_[b] = place;
    place += padded(moved_.bytes[b]);
  }
  return addresses;
}

void Replay::capture(std::span<std::byte* const> bases, MovedBases moved, std::span<const Transfer> transfers,
                     cudaStream_t stream, const Steps& steps) {
  stream_ = stream;
  moved_ = std::move(moved);
  launched_ = 0;
  make_room(transfers.size(), staged(transfers));
  const std::vector<std::byte*> addresses = fixed_addresses(bases);
  check(cudaMemsetAsync(shared_.state, 0, sizeof(ReplayState), stream), "clearing memory");

  const auto moved_bytes = [](std::uint64_t b) { return b; };
  const auto all = std::span(moved_.bytes);
  const auto read = all.first(moved_.first_result);
  const auto written = all.subspan(moved_.first_result);
  const auto results =
      static_cast<unsigned int>(std::ranges::count_if(written, [](std::uint64_t b) { return b > 0; }));
  const MoveRange moves_in{
      0, moves_ - results,
      std::max(largest(read, moved_bytes), largest(transfers, [](const Transfer& t) { return t.bytes; }))};
  const MoveRange moves_out{moves_in.count, results, largest(written, moved_bytes)};
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  try {
    const LaunchScope scope({stream, &shared_.state->fault});
    launch_begin(shared_, moves_in, stream);
    steps(addresses);
    launch_end(shared_, moves_out, stream);
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "capturing a graph");
  cudaGraphExecUpdateResultInfo info{};
  if (graph_ && cudaGraphExecUpdate(graph_, graph, &info) != cudaSuccess) {
    (void)cudaGetLastError();  // the graph is made anew
    destroy_graph();
  }
  cudaError_t status = cudaSuccess;
  if (!graph_) status = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "instantiating a graph");
}

unsigned int Replay::launch(std::span<std::byte* const> bases, std::span<const Transfer> transfers) {
  std::byte* const slot = shared_.slots + launched_ % replay_depth * shared_.slot_bytes;
  auto* move = reinterpret_cast<Move*>(slot);
  std::uint64_t brought = list_bytes_;
  for (const Transfer& t : transfers) {
    if (t.bytes > 0) std::memcpy(slot + brought, t.host, t.bytes);
    *move++ = {shared_.arrived + brought, t.to, t.bytes};
    brought += padded_in_slot(t.bytes);
  }
  for (std::size_t b = 0; b < moved_.bytes.size(); ++b) {
    if (moved_.bytes[b] == 0) continue;
    const bool is_read = b < moved_.first_result;
    *move++ = {is_read ? bases[b] : places_[b], is_read ? places_[b] : bases[b], moved_.bytes[b]};
  }
  check(cudaGraphLaunch(graph_, stream_), "launching a graph");
  ++in_flight_;
  return launched_++;
}

bool Replay::over(unsigned int number) const {
  const std::atomic_ref<unsigned int> over(shared_.ends[number % replay_depth].over);
  return over.load(std::memory_order_acquire) == number + 1;
}

Fault Replay::end(unsigned int number) {
  --in_flight_;
  return std::exchange(shared_.ends[number % replay_depth].fault, {});
}

}  // namespace wick::cuda
