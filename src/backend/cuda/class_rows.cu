#include "backend/cuda/class_rows.h"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/indices.cuh"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;

/// The target of a row; -1 where it is ignored or no class.
__device__ long long target_of(const ClassChunk& chunk, long long row) {
  const long long target = chunk.wide_targets
                               ? static_cast<const long long*>(chunk.targets)[row]
                               : static_cast<long long>(static_cast<const int*>(chunk.targets)[row]);
  return target == chunk.ignored || target < 0 || target >= chunk.classes ? -1 : target;
}

__device__ void report_target(const ClassChunk& chunk, long long row, const FaultReport& report) {
  const long long target = chunk.wide_targets
                               ? static_cast<const long long*>(chunk.targets)[row]
                               : static_cast<long long>(static_cast<const int*>(chunk.targets)[row]);
  if (target != chunk.ignored && (target < 0 || target >= chunk.classes))
    report.index_out_of_range(target, chunk.classes);
}

__global__ void start_rows(RunningSoftmax* states, long long rows) {
  begin_in_order();
  const long long row = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x;
  if (row < rows) states[row] = {-infinity<float>(), 0, 0, 0, 0};
}

/// Logits of a row in registers, many a thread: four blocks of 256 threads, 8192 logits each, on a
/// multiprocessor.
using HeldLogits = HeldRow<float, 8>;
constexpr int held_logits_threads = 512;

/// A block a row.
template <typename T, typename Row, int threads, bool sums_logits>
__global__ void __launch_bounds__(threads)
    add_classes(const ClassChunk chunk, RunningSoftmax* states, T* weights, float* gradient, long long d,
                const FaultReport report) {
  begin_in_order();
  const long long row = blockIdx.x;
  const float* const logits = chunk.logits + row * chunk.count;
  Row values(logits, static_cast<int>(chunk.count));
  RunningSoftmax state = states[row];
  // Weights may take the place of the logits: what is needed of those is read first.
  const long long target = target_of(chunk, row);
  if (target >= chunk.first && target < chunk.first + chunk.count)
    state.at_target = logits[target - chunk.first];
  float largest = state.largest;
  values.each([&](float logit) { largest = fmaxf(largest, logit); });
  largest = block_max(largest);
  if constexpr (sums_logits) {
    double sum_of_logits = 0;
    values.each([&](float logit) { sum_of_logits += logit; });
    state.logits += block_sum(sum_of_logits);
  }
  const float center = largest == -infinity<float>() ? 0.0f : largest;  // only -infinity so far
  float sum = 0;
  const auto weight_of = [&](float logit) {
    const float weight = exp_for<T>(logit - center);
    sum += weight;
    return weight;
  };
  if (weights)
    values.write(weights + row * chunk.count, weight_of);
  else
    values.each([&](float logit) { weight_of(logit); });
  const float shrink = expf(state.largest - center);
  sum = block_sum(sum);
  if (gradient && largest != state.largest)
    for (long long i = threadIdx.x; i < d; i += blockDim.x) gradient[row * d + i] *= shrink;
  if (threadIdx.x != 0) return;
  state.sum = state.sum * shrink + sum;
  state.largest = largest;
  if (chunk.first == 0) report_target(chunk, row, report);
  states[row] = state;
}

__global__ void __launch_bounds__(block_threads)
    row_losses(const ClassChunk all, const RunningSoftmax* states, double smoothing, double* losses) {
  begin_in_order();
  const long long row = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x;
  if (row >= all.rows) return;
  const RunningSoftmax state = states[row];
  const double log_norm = static_cast<double>(state.largest) + log(static_cast<double>(state.sum));
  const double nll = log_norm - static_cast<double>(state.at_target);
  const double mean = state.logits / static_cast<double>(all.classes);
  const double loss = smoothing > 0 ? (1 - smoothing) * nll + smoothing * (log_norm - mean) : nll;
  losses[row] = target_of(all, row) < 0 ? 0 : loss;
}

/// One block: a fixed order.
__global__ void __launch_bounds__(block_threads)
    sum_losses(const double* losses, long long rows, float* out) {
  begin_in_order();
  double total = 0;
  for (long long row = threadIdx.x; row < rows; row += block_threads) total += losses[row];
  total = block_sum(total);
  if (threadIdx.x == 0) *out = static_cast<float>(total);
}

template <typename T>
__global__ void __launch_bounds__(block_threads)
    finish_gradient(const ClassChunk all, const RunningSoftmax* states, float smoothing,
                    const ClassWeight weight, const float* weight_sum, float* gradient, float* log_norms) {
  begin_in_order();
  const long long row = blockIdx.x;
  const long long target = target_of(all, row);
  const RunningSoftmax state = states[row];
  const float scale = 1 / state.sum;
  const float uniform = smoothing / static_cast<float>(all.classes);
  const T* const of_target = static_cast<const T*>(weight.data) + target * weight.class_step;
  for (long long i = threadIdx.x; i < weight.d; i += block_threads) {
    float& to = gradient[row * weight.d + i];
    if (target < 0) {
      to = 0;
      continue;
    }
    float value = to * scale - (1 - smoothing) * read(of_target[i * weight.feature_step]);
    if (weight_sum) value -= uniform * weight_sum[i];
    to = value;
  }
  if (threadIdx.x == 0) log_norms[row] = target < 0 ? 0.0f : state.largest + logf(state.sum);
}

/// A feature a thread, part blockIdx.y of the classes.
template <typename T>
__global__ void __launch_bounds__(block_threads) sum_weight_parts(const ClassWeight weight, float* parts) {
  begin_in_order();
  const long long feature = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x;
  if (feature >= weight.d) return;
  const long long begin = weight.classes * blockIdx.y / gridDim.y;
  const long long end = weight.classes * (blockIdx.y + 1) / gridDim.y;
  const T* const of_feature = static_cast<const T*>(weight.data) + feature * weight.feature_step;
  float total = 0;
  for (long long c = begin; c < end; ++c) total += read(of_feature[c * weight.class_step]);
  parts[blockIdx.y * weight.d + feature] = total;
}

__global__ void __launch_bounds__(block_threads) sum_parts(const float* parts, long long d, float* sum) {
  begin_in_order();
  const long long feature = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x;
  if (feature >= d) return;
  float total = 0;
  for (long long part = 0; part < weight_sum_parts; ++part) total += parts[part * d + feature];
  sum[feature] = total;
}

template <typename T>
__global__ void __launch_bounds__(block_threads)
    class_gradients(const ClassChunk chunk, const float* log_norms, float smoothing, const float* grad,
                    T* out) {
  begin_in_order();
  const long long row = blockIdx.x;
  const long long target = target_of(chunk, row);
  const float scale = *grad;
  const float shift = log_norms[row];
  const float uniform = smoothing / static_cast<float>(chunk.classes);
  for (long long i = threadIdx.x; i < chunk.count; i += block_threads) {
    const long long at = row * chunk.count + i;
    const float bonus = chunk.first + i == target ? 1 - smoothing : 0.0f;
    const float part = (expf(chunk.logits[at] - shift) - uniform - bonus) * scale;
    out[at] = written<T>(target < 0 ? 0.0f : part);
  }
}

unsigned blocks_over(std::int64_t items) {
  return static_cast<unsigned>((items + block_threads - 1) / block_threads);
}

}  // namespace

void launch_start_rows(RunningSoftmax* states, std::int64_t rows) {
  launch_kernel(start_rows, {blocks_over(rows), block_threads}, current_launch().stream, "start_rows", states,
                rows);
}

void launch_add_classes(const ClassChunk& chunk, RunningSoftmax* states, bool sums_logits, void* weights,
                        DType dtype, float* gradient, std::int64_t d) {
  const auto launch =
      RowLaunch::of<HeldLogits>(chunk.rows, chunk.count, is_aligned_16(chunk.logits), held_logits_threads);
  visit_narrow(dtype, [&]<typename T>() {
    const auto launch_with = [&]<bool sums>() {
      const auto kernel = launch.in_registers ? add_classes<T, HeldLogits, held_logits_threads, sums>
                                              : add_classes<T, MemoryRow<float>, held_logits_threads, sums>;
      launch_kernel(kernel, {static_cast<unsigned>(chunk.rows), launch.threads}, current_launch().stream,
                    "add_classes", chunk, states, static_cast<T*>(weights), gradient, d, FaultReport::here());
    };
    if (sums_logits)
      launch_with.template operator()<true>();
    else
      launch_with.template operator()<false>();
  });
}

void launch_sum_losses(const ClassChunk& all, const RunningSoftmax* states, double smoothing, double* losses,
                       float* total) {
  const cudaStream_t stream = current_launch().stream;
  launch_kernel(row_losses, {blocks_over(all.rows), block_threads}, stream, "row_losses", all, states,
                smoothing, losses);
  launch_kernel(sum_losses, {1, block_threads}, stream, "sum_losses", losses, all.rows, total);
}

void launch_finish_gradient(const ClassChunk& all, const RunningSoftmax* states, double smoothing,
                            const ClassWeight& weight, const float* weight_sum, float* gradient,
                            float* log_norms) {
  visit_narrow(weight.dtype, [&]<typename T>() {
    launch_kernel(finish_gradient<T>, {static_cast<unsigned>(all.rows), block_threads},
                  current_launch().stream, "finish_gradient", all, states, static_cast<float>(smoothing),
                  weight, weight_sum, gradient, log_norms);
  });
}

void launch_sum_weights(const ClassWeight& weight, float* parts, float* sum) {
  const cudaStream_t stream = current_launch().stream;
  visit_narrow(weight.dtype, [&]<typename T>() {
    launch_kernel(sum_weight_parts<T>, {dim3(blocks_over(weight.d), weight_sum_parts), block_threads}, stream,
                  "sum_weights", weight, parts);
  });
  launch_kernel(sum_parts, {blocks_over(weight.d), block_threads}, stream, "sum_weights", parts, weight.d,
                sum);
}

void launch_class_gradients(const ClassChunk& chunk, const float* log_norms, double smoothing,
                            const float* grad, DType dtype, void* out) {
  visit_narrow(dtype, [&]<typename T>() {
    launch_kernel(class_gradients<T>, {static_cast<unsigned>(chunk.rows), block_threads},
                  current_launch().stream, "class_gradients", chunk, log_norms, static_cast<float>(smoothing),
                  grad, static_cast<T*>(out));
  });
}

}  // namespace wick::cuda
