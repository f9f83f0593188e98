#include "ops/linear_cross_entropy.h"

#include <algorithm>
#include <cstddef>

#include "backend/cuda/class_rows.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/matmul_lt.h"
#include "ops/attributes.h"
#include "wick/device.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

/// A chunk of classes: large enough for products at full speed, a small part of all logits.
constexpr std::int64_t most_logits = std::int64_t{1} << 25;
constexpr std::int64_t enough_chunks = 16;
constexpr std::int64_t chunk_step = 256;
constexpr std::int64_t most_workspace = std::int64_t{8} << 20;

std::int64_t chunk_classes(std::int64_t rows, std::int64_t classes) {
  const std::int64_t wanted =
      std::min(most_logits / rows, std::max<std::int64_t>(4096, classes / enough_chunks));
  return std::min(classes, std::max(chunk_step, wanted / chunk_step * chunk_step));
}

/// A share of a kernel's scratch memory.
class ScratchLayout {
 public:
  std::size_t add(std::int64_t bytes) {
    const std::size_t offset = size_;
    size_ += (static_cast<std::size_t>(bytes) + 255) / 256 * 256;
    return offset;
  }
  std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_ = 0;
};

/// One product for whole chunks, and one for the classes that are left.
struct ChunkProduct {
  LtMatmul whole;
  LtMatmul rest;
};

/// What the three kernels share: inputs hidden [rows, d], weight [classes, d] (or [d, classes]) of the same
/// dtype, targets [rows].
class ChunkedKernel : public Kernel {
 public:
  explicit ChunkedKernel(const KernelRequest& request)
      : options_(request.attrs.as<LinearCrossEntropyAttrs>().loss),
        transposed_(request.attrs.as<LinearCrossEntropyAttrs>().transposed != 0),
        dtype_(request.inputs[0].dtype),
        wide_targets_(request.inputs[2].dtype == DType::i64),
        rows_(request.inputs[2].shape().elements()),
        classes_(request.inputs[1].shape()[transposed_ ? 1 : 0]),
        d_(request.inputs[1].shape()[transposed_ ? 0 : 1]),
        chunk_(chunk_classes(rows_, classes_)),
        logits_(product([this](std::int64_t n) {
          const MatrixStrides weight = MatrixStrides::of(d_, n, feature_step(), class_step());
          return LtProblem{.m = rows_, .n = n, .k = d_, .a = {d_, 1}, .b = weight};
        })),
        logits_at_(scratch_.add(rows_ * chunk_ * float_bytes)),
        weights_at_(dtype_ == DType::f32 ? logits_at_ : scratch_.add(rows_ * chunk_ * element())) {}

  std::size_t scratch_bytes() const override { return scratch_.size() + workspace_; }

 protected:
  static constexpr auto float_bytes = static_cast<std::int64_t>(sizeof(float));

  std::int64_t element() const { return static_cast<std::int64_t>(size_of(dtype_)); }

  /// Of the weight: elements from one class to the next, and from one feature.
  std::int64_t class_step() const { return transposed_ ? 1 : d_; }
  std::int64_t feature_step() const { return transposed_ ? classes_ : 1; }
  ClassWeight weight_of(const void* data) const {
    return {data, dtype_, classes_, d_, class_step(), feature_step()};
  }

  /// `shape` gives the problem of n classes but for its dtypes.
  template <typename F>
  ChunkProduct product(const F& shape, DType output = DType::f32, bool accumulate = false) {
    const auto made = [&](std::int64_t n) {
      LtProblem problem = shape(n);
      problem.input = dtype_;
      problem.output = output;
      problem.accumulate = accumulate;
      problem.most_workspace = most_workspace;
      problem.tf32 = dtype_ == DType::f32 && tf32();
      const LtMatmul matmul(problem);
      workspace_ = std::max(workspace_, matmul.workspace_bytes());
      return matmul;
    };
    return {made(chunk_), made(classes_ % chunk_ == 0 ? chunk_ : classes_ % chunk_)};
  }
  void* workspace(std::byte* scratch) const { return scratch + scratch_.size(); }
  const LtMatmul& of_classes(const ChunkProduct& pair, std::int64_t n) const {
    return n == chunk_ ? pair.whole : pair.rest;
  }
  void run_product(const ChunkProduct& pair, std::int64_t n, const void* a, const void* b, void* c,
                   std::byte* scratch) const {
    if (!of_classes(pair, n).run(a, b, nullptr, c, workspace(scratch)))
      throw InternalError("linear_cross_entropy: cuBLASLt has no product for a chunk");
  }

  /// Calls f(chunk, its part of the weight) for chunks of classes, with their logits computed.
  template <typename F>
  void for_chunks(const void* const* inputs, std::byte* scratch, const F& f) const {
    for (std::int64_t first = 0; first < classes_; first += chunk_) {
      const std::int64_t n = std::min(chunk_, classes_ - first);
      const std::byte* w = static_cast<const std::byte*>(inputs[1]) + first * class_step() * element();
      run_product(logits_, n, inputs[0], w, scratch + logits_at_, scratch);
      f(chunk_of(inputs, scratch, first, n), w);
    }
  }
  ClassChunk chunk_of(const void* const* inputs, const std::byte* scratch, std::int64_t first,
                      std::int64_t n) const {
    return {reinterpret_cast<const float*>(scratch + logits_at_),
            rows_,
            n,
            first,
            classes_,
            inputs[2],
            wide_targets_,
            options_.ignore_index};
  }

  CrossEntropyAttrs options_;
  bool transposed_;  // the weight is [d, classes]
  DType dtype_;
  bool wide_targets_;
  std::int64_t rows_;
  std::int64_t classes_;
  std::int64_t d_;
  std::int64_t chunk_;
  ScratchLayout scratch_;
  std::size_t workspace_ = 0;
  ChunkProduct logits_;
  std::size_t logits_at_;
  std::size_t weights_at_;  // probabilities in f32 take the place of the logits
};

/// The loss, and with `parts` what its gradient needs (LossParts). The gradient with respect to hidden is
/// summed up as weights exp(logit_c - largest so far) w_c, scaled down when the largest grows, so that each
/// logit is computed once.
template <bool parts>
class LossKernel final : public ChunkedKernel {
 public:
  explicit LossKernel(const KernelRequest& request)
      : ChunkedKernel(request),
        first_(gradient_product(false)),
        more_(gradient_product(true)),
        states_at_(scratch_.add(rows_ * static_cast<std::int64_t>(sizeof(RunningSoftmax)))),
        losses_at_(scratch_.add(rows_ * static_cast<std::int64_t>(sizeof(double)))) {
    if (!parts || options_.label_smoothing == 0) return;
    weight_sum_at_ = scratch_.add(d_ * float_bytes);
    weight_parts_at_ = scratch_.add(weight_sum_parts * d_ * float_bytes);
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* const scratch = static_cast<std::byte*>(scratch_memory);
    auto* const states = reinterpret_cast<RunningSoftmax*>(scratch + states_at_);
    auto* const out = static_cast<float*>(output);
    const LossParts sizes{rows_ * d_, rows_};
    float* const gradient = parts ? out : nullptr;
    void* const weights = parts ? scratch + weights_at_ : nullptr;
    const bool smooth = options_.label_smoothing > 0;
    if constexpr (parts) choose_products(inputs[1], weights, gradient, scratch);
    launch_start_rows(states, rows_);
    for_chunks(inputs, scratch, [&](const ClassChunk& chunk, const std::byte* w) {
      launch_add_classes(chunk, states, smooth, weights, dtype_, chunk.first == 0 ? nullptr : gradient, d_);
      if constexpr (parts)
        run_product(chunk.first == 0 ? first_ : more_, chunk.count, weights, w, gradient, scratch);
    });
    const ClassChunk all = chunk_of(inputs, scratch, 0, classes_);
    launch_sum_losses(all, states, options_.label_smoothing, reinterpret_cast<double*>(scratch + losses_at_),
                      out + (parts ? sizes.size() - 1 : 0));
    if constexpr (parts) {
      auto* const weight_sum = smooth ? reinterpret_cast<float*>(scratch + weight_sum_at_) : nullptr;
      if (smooth)
        launch_sum_weights(weight_of(inputs[1]), reinterpret_cast<float*>(scratch + weight_parts_at_),
                           weight_sum);
      launch_finish_gradient(all, states, options_.label_smoothing, weight_of(inputs[1]), weight_sum,
                             gradient, out + sizes.gradient);
    }
  }

 private:
  ChunkProduct gradient_product(bool accumulate) {
    return product(
        [this](std::int64_t n) {
          const MatrixStrides weight = MatrixStrides::of(n, d_, class_step(), feature_step());
          return LtProblem{.m = rows_, .n = d_, .k = n, .a = {n, 1}, .b = weight};
        },
        DType::f32, accumulate);
  }

  /// Choosing by measurement overwrites what a product adds to: before anything is there.
  void choose_products(const void* weight, const void* weights, float* gradient, std::byte* scratch) const {
    more_.whole.choose(weights, weight, nullptr, gradient, workspace(scratch));
    more_.rest.choose(weights, weight, nullptr, gradient, workspace(scratch));
  }

  ChunkProduct first_;
  ChunkProduct more_;
  std::size_t states_at_;
  std::size_t losses_at_;
  std::size_t weight_sum_at_ = 0;
  std::size_t weight_parts_at_ = 0;
};

/// grad (softmax - expected)^T hidden, some classes at a time. Inputs end with the log_norms of the parts and
/// the gradient of the sum.
class WeightGradientKernel final : public ChunkedKernel {
 public:
  explicit WeightGradientKernel(const KernelRequest& request)
      : ChunkedKernel(request),
        gradient_(product(
            [this](std::int64_t n) {
              if (transposed_)
                return LtProblem{.m = d_, .n = n, .k = rows_, .a = {1, d_}, .b = {n, 1}, .c_row = classes_};
              return LtProblem{.m = n, .n = d_, .k = rows_, .a = {1, n}, .b = {d_, 1}};
            },
            dtype_)) {}

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* const scratch = static_cast<std::byte*>(scratch_memory);
    for_chunks(inputs, scratch, [&](const ClassChunk& chunk, const std::byte*) {
      launch_class_gradients(chunk, static_cast<const float*>(inputs[3]), options_.label_smoothing,
                             static_cast<const float*>(inputs[4]), dtype_, scratch + weights_at_);
      const void* const weights = scratch + weights_at_;
      run_product(gradient_, chunk.count, transposed_ ? inputs[0] : weights,
                  transposed_ ? weights : inputs[0],
                  static_cast<std::byte*>(output) + chunk.first * class_step() * element(), scratch);
    });
  }

 private:
  ChunkProduct gradient_;
};

bool supports(const KernelRequest& request) {
  const DType hidden = request.inputs[0].dtype;
  return request.inputs[0].shape().elements() > 0 && hidden != DType::f64 &&
         request.inputs[1].dtype == hidden;
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "linear_cross_entropy_sum", .prepare = prepare<LossKernel<false>>, .supports = supports},
    {.op = "linear_cross_entropy_parts", .prepare = prepare<LossKernel<true>>, .supports = supports},
    {.op = "linear_cross_entropy_weight_gradient",
     .prepare = prepare<WeightGradientKernel>,
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::linear_cross_entropy() { return entries; }

}  // namespace wick::cuda
