#include <cmath>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/indices.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 512;

/// Rows of logits and their targets.
struct Targets {
  const void* data;
  bool wide;
  long long ignored;
  int classes;
  FaultReport report;

  /// The class of a row; -1 where it is ignored or, with a fault, none of them.
  __device__ int of(long long row) const {
    const long long target = wide ? static_cast<const long long*>(data)[row]
                                  : static_cast<long long>(static_cast<const int*>(data)[row]);
    if (target == ignored) return -1;
    if (target < 0 || target >= classes) {
      if (threadIdx.x == 0) report.index_out_of_range(target, classes);
      return -1;
    }
    return static_cast<int>(target);
  }
};

/// The largest logit, and the sum of exp(logit - largest), of what was seen; for label smoothing, of the
/// logits.
struct Running {
  float largest = -infinity<float>();
  float sum = 0;
  double logits = 0;

  template <typename T, int width>
  __device__ void add(const Pack<T, width>& pack, bool sums_logits) {
    float values[width];
    float top = largest;
#pragma unroll
    for (int j = 0; j < width; ++j) {
      values[j] = read(pack.at[j]);
      top = fmaxf(top, values[j]);
    }
    // Only -infinity so far: every difference with it would be NaN.
    const float center = top == -infinity<float>() ? 0.0f : top;
    sum *= expf(largest - center);
    float total = 0;
#pragma unroll
    for (int j = 0; j < width; ++j) {
      sum += expf(values[j] - center);
      total += values[j];
    }
    largest = top;
    if (sums_logits) logits += total;
  }

  /// Of the whole block.
  __device__ void combine(bool sums_logits) {
    const float top = block_max(largest);
    sum = block_sum(sum == 0 ? 0.0f : sum * expf(largest - top));
    largest = top;
    if (sums_logits) logits = block_sum(logits);
  }
};

template <typename T, int width>
__device__ Running read_row(const T* row, int classes, bool sums_logits) {
  Running running;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x) * width; i < classes; i += block_threads * width)
    running.add(load_pack<width>(row + i), sums_logits);
  running.combine(sums_logits);
  return running;
}

template <typename T, int width>
__global__ void __launch_bounds__(block_threads)
    row_losses(const T* logits, const Targets targets, double smoothing, double* losses) {
  begin_in_order();
  const long long row = blockIdx.x;
  const int target = targets.of(row);
  if (target < 0) {
    if (threadIdx.x == 0) losses[row] = 0;
    return;
  }
  const T* const from = logits + row * targets.classes;
  const Running norm = read_row<T, width>(from, targets.classes, smoothing > 0);
  if (threadIdx.x != 0) return;
  const double log_sum = static_cast<double>(logf(norm.sum));
  const auto largest = static_cast<double>(norm.largest);
  const double nll = log_sum - (static_cast<double>(read(from[target])) - largest);
  const double mean_log_p = norm.logits / targets.classes - largest - log_sum;
  losses[row] = smoothing > 0 ? (1 - smoothing) * nll - smoothing * mean_log_p : nll;
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

/// (softmax - (1 - e) one_hot - e / classes) grad; `out` may be `logits`.
template <typename T, int width>
__global__ void __launch_bounds__(block_threads)
    row_gradients(const T* logits, const Targets targets, float smoothing, const float* grad, T* out) {
  begin_in_order();
  const long long row = blockIdx.x;
  const int target = targets.of(row);
  const T* const from = logits + row * targets.classes;
  T* const to = out + row * targets.classes;
  float shift = 0;
  if (target >= 0) {
    const Running norm = read_row<T, width>(from, targets.classes, false);
    shift = norm.largest + logf(norm.sum);
  }
  const float uniform = smoothing / static_cast<float>(targets.classes);
  const float scale = *grad;
  for (int i = static_cast<int>(threadIdx.x) * width; i < targets.classes; i += block_threads * width) {
    Pack<T, width> made;
    const auto pack = load_pack<width>(from + i);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float bonus = i + j == target ? scale * (1 - smoothing) : 0.0f;
      const float part = (exp_for<T>(read(pack.at[j]) - shift) - uniform) * scale - bonus;
      made.at[j] = written<T>(target < 0 ? 0.0f : part);
    }
    store_pack(to + i, made);
  }
}

/// What the loss and its gradient share.
class CrossEntropyKernel : public Kernel {
 public:
  explicit CrossEntropyKernel(const KernelRequest& request)
      : options_(request.attrs.as<CrossEntropyAttrs>()),
        dtype_(request.inputs[0].dtype),
        wide_targets_(request.inputs[1].dtype == DType::i64),
        classes_(request.inputs[0].shape().dim(-1)),
        rows_(request.inputs[1].shape().elements()) {}

 protected:
  Targets targets(const void* data) const {
    return {data, wide_targets_, options_.ignore_index, static_cast<int>(classes_), FaultReport::here()};
  }
  /// Calls f.template operator()<T, width>() with the width that rows at these addresses can be read with.
  template <typename F>
  void visit_rows(const void* logits, const void* out, const F& f) const {
    visit_narrow(dtype_, [&]<typename T>() {
      if (classes_ % row_width<T> == 0 && is_aligned_16(logits) && is_aligned_16(out))
        f.template operator()<T, row_width<T>>();
      else
        f.template operator()<T, 1>();
    });
  }

  CrossEntropyAttrs options_;
  DType dtype_;
  bool wide_targets_;
  std::int64_t classes_;
  std::int64_t rows_;
};

class LossKernel final : public CrossEntropyKernel {
 public:
  using CrossEntropyKernel::CrossEntropyKernel;
  std::size_t scratch_bytes() const override { return static_cast<std::size_t>(rows_) * sizeof(double); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const cudaStream_t stream = current_launch().stream;
    auto* const losses = static_cast<double*>(scratch);
    if (rows_ > 0)
      visit_rows(inputs[0], nullptr, [&]<typename T, int width>() {
        launch_kernel(row_losses<T, width>, {static_cast<unsigned>(rows_), block_threads}, stream,
                      "row_losses", static_cast<const T*>(inputs[0]), targets(inputs[1]),
                      options_.label_smoothing, losses);
      });
    launch_kernel(sum_losses, {1, block_threads}, stream, "sum_losses", losses, rows_,
                  static_cast<float*>(output));
  }
};

class GradientKernel final : public CrossEntropyKernel {
 public:
  using CrossEntropyKernel::CrossEntropyKernel;

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (rows_ == 0) return;
    visit_rows(inputs[0], output, [&]<typename T, int width>() {
      launch_kernel(row_gradients<T, width>, {static_cast<unsigned>(rows_), block_threads},
                    current_launch().stream, "row_gradients", static_cast<const T*>(inputs[0]),
                    targets(inputs[1]), static_cast<float>(options_.label_smoothing),
                    static_cast<const float*>(inputs[2]), static_cast<T*>(output));
    });
  }
};

bool supports(const KernelRequest& request) {
  return request.inputs[0].dtype != DType::f64 &&
         request.inputs[0].shape().dim(-1) <= Limits<int>::high / 2 &&
         request.inputs[1].shape().elements() <= Limits<int>::high;
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "cross_entropy_sum", .prepare = prepare<LossKernel>, .supports = supports},
    {.op = "cross_entropy_gradient",
     .prepare = prepare<GradientKernel>,
     .in_place = true,
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::cross_entropy() { return entries; }

}  // namespace wick::cuda
