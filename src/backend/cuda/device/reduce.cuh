#pragma once

#include "backend/cuda/device/reductions.cuh"
#include "backend/cuda/device/split.cuh"

// How blocks reduce; compiled by nvcc and at run time: no includes but these.
namespace wick::cuda {

/// The total of `lanes` threads, in those of lane 0; the order depends on their number only.
template <typename R>
__device__ typename R::Total total_of_lanes(typename R::Total total, const Split& split, int lane) {
  __shared__ typename R::Total totals[reduce_threads];
  const int apart = split.lanes_together ? 1 : reduce_threads / split.lanes;
  totals[threadIdx.x] = total;
  for (int half = split.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half)
      totals[threadIdx.x] = R::combined(totals[threadIdx.x], totals[threadIdx.x + half * apart]);
  }
  return totals[threadIdx.x];
}

struct Place {
  int lane;
  long long output;
};

__device__ __forceinline__ Place place_of(const Split& split) {
  const int outputs = reduce_threads / split.lanes;
  const int thread = static_cast<int>(threadIdx.x);
  const long long first = static_cast<long long>(blockIdx.x) * outputs;
  if (split.lanes_together) return {thread % split.lanes, first + thread / split.lanes};
  return {thread / outputs, first + thread % outputs};
}

template <typename Index, int operands>
__device__ __forceinline__ void add_offsets(const Dims<Index>& dims, Index i,
                                            const Steps<Index> (&steps)[operands],
                                            typename OffsetOf<Index>::type (&at)[operands]) {
  const Steps<Index>* all[operands];
#pragma unroll
  for (int k = 0; k < operands; ++k) all[k] = &steps[k];
  typename OffsetOf<Index>::type moved[operands];
  offsets_at(dims, i, all, moved);
#pragma unroll
  for (int k = 0; k < operands; ++k) at[k] += moved[k];
}

/// Totals of parts go to `totals` [parts, outputs]; of the only part, to `out`. `elements.at(offsets)` is an
/// element as it is computed, `elements.pack(offsets, r)` a pack of `Elements::width` from the r-th on along
/// the reduced dimension.
template <typename R, typename Index, int operands, typename Elements>
__device__ __forceinline__ void reduce_part(const Walks<Index, operands>& walks, const Split& split,
                                            const Elements& elements, typename R::Result* out,
                                            typename R::Total* totals) {
  using Offset = typename OffsetOf<Index>::type;
  const Place place = place_of(split);
  const bool used = place.output < static_cast<long long>(walks.kept.count);
  auto total = R::start();
  if (used) {
    Offset first[operands] = {};
    add_offsets(walks.kept, static_cast<Index>(place.output), walks.kept_steps, first);
    const long long begin = static_cast<long long>(blockIdx.y) * split.part;
    const long long all = static_cast<long long>(walks.reduced.count);
    const long long end = begin + split.part < all ? begin + split.part : all;
    long long r = begin + place.lane;
    if (split.packs) {
      constexpr int width = Elements::width;
      const long long whole = begin + (end - begin) / width * width;
#pragma unroll 4
      for (r = begin + place.lane * width; r < whole; r += static_cast<long long>(split.lanes) * width)
        total = R::combined(total, R::of_pack(elements.pack(first, r), r));
      r = whole + place.lane;
    }
#pragma unroll 4
    for (; r < end; r += split.lanes) {
      Offset at[operands];
#pragma unroll
      for (int k = 0; k < operands; ++k) at[k] = first[k];
      add_offsets(walks.reduced, static_cast<Index>(r), walks.reduced_steps, at);
      total = R::combined(total, R::of(elements.at(at), r));
    }
  }
  total = total_of_lanes<R>(total, split, place.lane);
  if (!used || place.lane != 0) return;
  if (gridDim.y == 1)
    out[place.output] = R::result(total);
  else
    totals[blockIdx.y * static_cast<long long>(walks.kept.count) + place.output] = total;
}

template <typename R>
__device__ __forceinline__ void combine_totals(const typename R::Total* totals, long long parts,
                                               long long outputs, const Split& split,
                                               typename R::Result* out) {
  const Place place = place_of(split);
  auto total = R::start();
  if (place.output < outputs)
    for (long long part = place.lane; part < parts; part += split.lanes)
      total = R::combined(total, totals[part * outputs + place.output]);
  total = total_of_lanes<R>(total, split, place.lane);
  if (place.output < outputs && place.lane == 0) out[place.output] = R::result(total);
}

}  // namespace wick::cuda
