#include "ops/linear_cross_entropy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/class_rows.h"
#include "backend/cpu/class_weight.h"
#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/matrix_product.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"
#include "wick/error.h"

namespace wick {
namespace {

// The logits are computed in blocks of rows by chunks of classes. These sizes keep a block in the cache while
// the classes' weights are read once a block.
constexpr std::int64_t most_block_rows = 512;
constexpr std::int64_t most_chunk_classes = 512;
/// So many rows keep a thread busy while the weights go by.
constexpr std::int64_t rows_a_thread = 128;

/// A share of a kernel's scratch memory.
class ScratchLayout {
 public:
  std::size_t add(std::int64_t bytes) {
    const std::size_t offset = size_;
    size_ += (static_cast<std::size_t>(bytes) + 63) / 64 * 64;
    return offset;
  }
  std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_ = 0;
};

/// One matrix product for whole chunks, and one for what is left.
struct ProductPair {
  std::unique_ptr<const MatrixProduct> whole;
  std::unique_ptr<const MatrixProduct> rest;

  std::size_t scratch_bytes() const {
    return std::max(whole ? whole->scratch_bytes() : 0, rest ? rest->scratch_bytes() : 0);
  }
};

/// What the three kernels share: inputs hidden [rows, d], weight [classes, d] (or [d, classes]) and targets
/// [rows]. Rows whose target is ignored are left out before anything is computed. Each of `workers` has
/// logits of its own.
class ChunkedKernel : public Kernel {
 public:
  ChunkedKernel(const KernelRequest& request, std::int64_t workers)
      : workers_(workers),
        options_(request.attrs.as<LinearCrossEntropyAttrs>().loss),
        transposed_(request.attrs.as<LinearCrossEntropyAttrs>().transposed != 0),
        dtype_(request.inputs[0].dtype),
        target_dtype_(request.inputs[2].dtype),
        rows_(request.inputs[2].shape().elements()),
        classes_(request.inputs[1].shape()[transposed_ ? 1 : 0]),
        d_(request.inputs[1].shape()[transposed_ ? 0 : 1]),
        weight_(request.inputs[1].dtype, classes_, d_, transposed_) {
    const std::int64_t least = (rows_ + most_block_rows - 1) / most_block_rows;
    const std::int64_t blocks = (least + workers - 1) / workers * workers;
    block_ = (rows_ + blocks - 1) / blocks;
    chunk_ = std::min(classes_, most_chunk_classes);
    logits_ = for_chunks([&](std::int64_t n) {
      const ClassWeight w = chunk_layout(n);
      const auto b = MatrixStrides::of(d_, n, w.feature_step(), w.class_step());
      return MatmulProblem{.m = block_, .n = n, .k = d_, .a = {d_, 1}, .b = b, .batch = {}};
    });
    rows_at_ = scratch_.add(rows_ * static_cast<std::int64_t>(sizeof(std::int64_t)));
    hidden_at_ = scratch_.add(blocks * block_ * d_ * element());
    logits_at_ = own_.add(block_ * chunk_ * float_bytes);
    // Probabilities in f32 take the place of the logits.
    weights_at_ = dtype_ == DType::f32 ? logits_at_ : own_.add(block_ * chunk_ * element());
    wide_at_ = weight_.dtype() == dtype_ ? 0 : own_.add(chunk_ * d_ * float_bytes);
    require_product_scratch(logits_);
  }

  std::size_t scratch_bytes() const override {
    return scratch_.size() + static_cast<std::size_t>(workers_) * own_bytes();
  }

 protected:
  static constexpr auto float_bytes = static_cast<std::int64_t>(sizeof(float));

  /// The rows of hidden that count, and their targets.
  struct Counted {
    std::int64_t count = 0;
    const std::int64_t* rows = nullptr;
    const std::byte* hidden = nullptr;  // [count rounded up to blocks, d], zeros at the end
  };

  std::int64_t element() const { return static_cast<std::int64_t>(size_of(dtype_)); }

  template <typename F>
  ProductPair for_chunks(const F& problem, ProductOptions options = {}) const {
    options.c = DType::f32;
    ProductPair pair;
    const ThreadLimit limit(workers_ > 1 ? 1 : omp_get_max_threads());
    const auto make = [&](std::int64_t classes) {
      auto product = MatrixProduct::make(problem(classes), dtype_, options);
      if (!product) throw InternalError("linear_cross_entropy: no product for a chunk");
      return product;
    };
    pair.whole = make(chunk_);
    if (classes_ % chunk_ != 0) pair.rest = make(classes_ % chunk_);
    return pair;
  }
  void require_product_scratch(const ProductPair& pair) {
    product_scratch_ = std::max(product_scratch_, pair.scratch_bytes());
  }
  void run_product(const ProductPair& pair, std::int64_t classes, const void* a, const void* b, float* c,
                   std::byte* own) const {
    const MatrixProduct& product = classes == chunk_ ? *pair.whole : *pair.rest;
    product.run(a, b, nullptr, c, own + own_.size());
  }

  std::int64_t target(const void* targets, std::int64_t row) const {
    return target_dtype_ == DType::i32 ? static_cast<const std::int32_t*>(targets)[row]
                                       : static_cast<const std::int64_t*>(targets)[row];
  }

  Counted counted_rows(const void* const* inputs, std::byte* scratch) const {
    auto* rows = reinterpret_cast<std::int64_t*>(scratch + rows_at_);
    Counted counted;
    counted.rows = rows;
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::int64_t t = target(inputs[2], row);
      if (t == options_.ignore_index) continue;
      if (t < 0 || t >= classes_)
        throw ArgumentError(
            fmt::format("target {} at position {} is neither one of the {} classes nor the ignored {}", t,
                        row, classes_, options_.ignore_index));
      rows[counted.count++] = row;
    }
    const auto* hidden = static_cast<const std::byte*>(inputs[0]);
    const std::int64_t padded = (counted.count + block_ - 1) / block_ * block_;
    if (padded == rows_ && counted.count == rows_) {
      counted.hidden = hidden;
      return counted;
    }
    std::byte* to = scratch + hidden_at_;
    const std::int64_t row_bytes = d_ * element();
    for (std::int64_t i = 0; i < counted.count; ++i)
      std::memcpy(to + i * row_bytes, hidden + rows[i] * row_bytes, static_cast<std::size_t>(row_bytes));
    std::memset(to + counted.count * row_bytes, 0,
                static_cast<std::size_t>((padded - counted.count) * row_bytes));
    counted.hidden = to;
    return counted;
  }

  /// How that which `weight_chunk` returns for n classes lies.
  ClassWeight chunk_layout(std::int64_t n) const {
    return {dtype_, weight_.dtype() == dtype_ ? classes_ : n, d_, transposed_};
  }
  /// The weight of classes [first, first + n), in hidden's dtype.
  const void* weight_chunk(const void* weight, std::int64_t first, std::int64_t n, std::byte* own) const {
    if (weight_.dtype() == dtype_) return static_cast<const std::byte*>(weight) + weight_.offset_bytes(first);
    auto* wide = reinterpret_cast<float*>(own + wide_at_);
    weight_.widen(weight, first, n, wide);
    return wide;
  }

  std::byte* own(std::byte* scratch, std::int64_t worker) const {
    return scratch + scratch_.size() + static_cast<std::size_t>(worker) * own_bytes();
  }
  float* logits(std::byte* own) const { return reinterpret_cast<float*>(own + logits_at_); }
  std::byte* weights(std::byte* own) const { return own + weights_at_; }

  std::int64_t workers_;

  CrossEntropyAttrs options_;
  bool transposed_;  // the weight is [d, classes]
  DType dtype_;
  DType target_dtype_;
  std::int64_t rows_;
  std::int64_t classes_;
  std::int64_t d_;
  ClassWeight weight_;
  std::int64_t block_;     // rows
  std::int64_t chunk_;     // classes
  ScratchLayout scratch_;  // of all
  ScratchLayout own_;      // of a worker; its products' lies behind
  ProductPair logits_;

 private:
  std::size_t own_bytes() const { return own_.size() + (product_scratch_ + 63) / 64 * 64; }

  std::size_t product_scratch_ = 0;
  std::size_t rows_at_;
  std::size_t hidden_at_;
  std::size_t logits_at_;
  std::size_t weights_at_;
  std::size_t wide_at_;
};

/// The loss, and with `Parts` also the gradient of hidden. The gradient is accumulated like the output of
/// attention: sum_c exp(l_c - largest so far) w_c, rescaled when the largest grows, so that each logit is
/// computed once.
template <bool parts>
class LossKernel final : public ChunkedKernel {
 public:
  explicit LossKernel(const KernelRequest& request) : ChunkedKernel(request, workers_for(request)) {
    losses_at_ = scratch_.add(rows_ * static_cast<std::int64_t>(sizeof(double)));
    states_at_ = own_.add(block_ * static_cast<std::int64_t>(sizeof(RunningSoftmax)));
    if constexpr (parts) {
      gradient_ = for_chunks(
          [&](std::int64_t n) {
            const ClassWeight w = chunk_layout(n);
            const auto b = MatrixStrides::of(n, d_, w.class_step(), w.feature_step());
            return MatmulProblem{.m = block_, .n = d_, .k = n, .a = {n, 1}, .b = b, .batch = {}};
          },
          {.accumulate = true});
      gradient_at_ = own_.add(block_ * d_ * float_bytes);
      if (options_.label_smoothing > 0) weight_sum_at_ = scratch_.add(d_ * float_bytes);
      require_product_scratch(gradient_);
    }
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    const Counted counted = counted_rows(inputs, scratch);
    auto* out = static_cast<float*>(output);
    const LossParts sizes{rows_ * d_, rows_};
    if constexpr (parts) {
      std::fill_n(out, sizes.size(), 0.0f);
      if (options_.label_smoothing > 0)
        weight_.sum_classes(inputs[1], reinterpret_cast<float*>(scratch + weight_sum_at_));
    }
    auto* losses = reinterpret_cast<double*>(scratch + losses_at_);
    const std::int64_t blocks = (counted.count + block_ - 1) / block_;
    parallel_for(workers_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t worker = begin; worker < end; ++worker)
        for (std::int64_t block = worker; block < blocks; block += workers_) {
          const std::int64_t first = block * block_;
          const std::int64_t used = std::min(block_, counted.count - first);
          std::byte* own = this->own(scratch, worker);
          run_block(inputs[1], inputs[2], counted, first, used, own);
          const auto* states = reinterpret_cast<const RunningSoftmax*>(own + states_at_);
          for (std::int64_t i = 0; i < used; ++i) losses[first + i] = loss(states[i]);
          if constexpr (parts)
            write_parts(inputs[1], inputs[2], counted, first, used, sizes, out, scratch, own);
        }
    });
    // In order, so that the number of threads does not change the sum.
    double total = 0;
    for (std::int64_t i = 0; i < counted.count; ++i) total += losses[i];
    out[parts ? sizes.size() - 1 : 0] = static_cast<float>(total);
  }

 private:
  /// Threads have rows of their own where there are enough: logits and what becomes of them then stay in the
  /// caches of one core.
  static std::int64_t workers_for(const KernelRequest& request) {
    const std::int64_t threads = omp_get_max_threads();
    return request.inputs[2].shape().elements() >= threads * rows_a_thread ? threads : 1;
  }

  double loss(const RunningSoftmax& state) const {
    const double log_norm = static_cast<double>(state.largest) + std::log(static_cast<double>(state.sum));
    const double nll = log_norm - static_cast<double>(state.at_target);
    if (options_.label_smoothing == 0) return nll;
    const double mean = state.logits / static_cast<double>(classes_);
    return (1 - options_.label_smoothing) * nll + options_.label_smoothing * (log_norm - mean);
  }

  void run_block(const void* weight, const void* targets, const Counted& counted, std::int64_t first,
                 std::int64_t used, std::byte* own) const {
    auto* states = reinterpret_cast<RunningSoftmax*>(own + states_at_);
    std::fill_n(states, used, RunningSoftmax{-std::numeric_limits<float>::infinity(), 0, 0, 0});
    float* gradient = parts ? reinterpret_cast<float*>(own + gradient_at_) : nullptr;
    if constexpr (parts) std::fill_n(gradient, block_ * d_, 0.0f);
    float* logits = this->logits(own);
    std::byte* weights = this->weights(own);
    for (std::int64_t c = 0; c < classes_; c += chunk_) {
      const std::int64_t n = std::min(chunk_, classes_ - c);
      const void* w = weight_chunk(weight, c, n, own);
      run_product(logits_, n, counted.hidden + first * d_ * element(), w, logits, own);
      parallel_rows(used, n, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t t = target(targets, counted.rows[first + i]);
          if (t >= c && t < c + n) states[i].at_target = logits[i * n + t - c];
          add_classes(states[i], logits + i * n, n, options_.label_smoothing > 0,
                      parts ? weights + i * n * element() : nullptr, dtype_,
                      parts ? gradient + i * d_ : nullptr, d_);
        }
      });
      if constexpr (parts) run_product(gradient_, n, weights, w, gradient, own);
    }
  }

  /// gradient / sum - (1 - e) w_target - e / classes sum_c w_c, to the rows of hidden that they belong to.
  void write_parts(const void* weight, const void* targets, const Counted& counted, std::int64_t first,
                   std::int64_t used, const LossParts& sizes, float* out, const std::byte* scratch,
                   const std::byte* own) const {
    const auto* states = reinterpret_cast<const RunningSoftmax*>(own + states_at_);
    const auto* gradient = reinterpret_cast<const float*>(own + gradient_at_);
    const auto smoothing = static_cast<float>(options_.label_smoothing);
    parallel_rows(used, d_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = counted.rows[first + i];
        const std::int64_t t = target(targets, row);
        float* to = out + row * d_;
        const void* of_target = static_cast<const std::byte*>(weight) + weight_.offset_bytes(t);
        if (transposed_) {
          weight_.copy_class(weight, t, to);
          of_target = to;
        }
        finish_gradient(gradient + i * d_, 1 / states[i].sum, transposed_ ? DType::f32 : weight_.dtype(),
                        of_target, 1 - smoothing, to, d_);
        if (smoothing > 0)
          finish_gradient(to, 1, DType::f32, scratch + weight_sum_at_,
                          smoothing / static_cast<float>(classes_), to, d_);
        out[sizes.gradient + row] = states[i].largest + std::log(states[i].sum);
      }
    });
  }

  ProductPair gradient_;
  std::size_t losses_at_;
  std::size_t states_at_;
  std::size_t gradient_at_ = 0;
  std::size_t weight_sum_at_ = 0;
};

/// grad (softmax - expected)^T hidden, some classes at a time.
class WeightGradientKernel final : public ChunkedKernel {
 public:
  explicit WeightGradientKernel(const KernelRequest& request) : ChunkedKernel(request, 1) {
    const auto problem = [&](std::int64_t n) {
      if (transposed_)
        return MatmulProblem{.m = d_, .n = n, .k = block_, .a = {1, d_}, .b = {n, 1}, .batch = {}};
      return MatmulProblem{.m = n, .n = d_, .k = block_, .a = {1, n}, .b = {d_, 1}, .batch = {}};
    };
    const std::int64_t row_stride = transposed_ && weight_.dtype() == DType::f32 ? classes_ : 0;
    first_ = for_chunks(problem, {.c_row_stride = row_stride});
    more_ = for_chunks(problem, {.c_row_stride = row_stride, .accumulate = true});
    require_product_scratch(first_);
    require_product_scratch(more_);
    if (weight_.dtype() != DType::f32) gradient_at_ = scratch_.add(chunk_ * d_ * float_bytes);
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    const Counted counted = counted_rows(inputs, scratch);
    auto* out = static_cast<std::byte*>(output);
    if (counted.count == 0) {
      std::memset(out, 0, static_cast<std::size_t>(classes_ * d_ * weight_.element()));
      return;
    }
    std::byte* own = this->own(scratch, 0);
    for (std::int64_t c = 0; c < classes_; c += chunk_) {
      const std::int64_t n = std::min(chunk_, classes_ - c);
      std::byte* to = out + weight_.offset_bytes(c);
      float* gradient = reinterpret_cast<float*>(weight_.dtype() == DType::f32 ? to : scratch + gradient_at_);
      const void* w = weight_chunk(inputs[1], c, n, own);
      for (std::int64_t first = 0; first < counted.count; first += block_) {
        const std::byte* hidden = counted.hidden + first * d_ * element();
        run_product(logits_, n, hidden, w, logits(own), own);
        fill_gradients(inputs, counted, first, c, n, own);
        const void* weights = this->weights(own);
        run_product(first == 0 ? first_ : more_, n, transposed_ ? hidden : weights,
                    transposed_ ? weights : hidden, gradient, own);
      }
      if (weight_.dtype() == DType::f32) continue;
      weight_.narrow(gradient, c, n, output);
    }
  }

 private:
  /// Of the logits of one block and chunk; zeros in the rows that fill up the last block.
  void fill_gradients(const void* const* inputs, const Counted& counted, std::int64_t first, std::int64_t c,
                      std::int64_t n, std::byte* own) const {
    const auto* log_norms = static_cast<const float*>(inputs[3]);
    const float grad = *static_cast<const float*>(inputs[4]);
    const auto smoothing = static_cast<float>(options_.label_smoothing);
    const float uniform = smoothing / static_cast<float>(classes_);
    const float* logits = this->logits(own);
    std::byte* weights = this->weights(own);
    parallel_rows(block_, n, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        std::byte* to = weights + i * n * element();
        if (first + i >= counted.count) {
          std::memset(to, 0, static_cast<std::size_t>(n * element()));
          continue;
        }
        const std::int64_t row = counted.rows[first + i];
        const std::int64_t t = target(inputs[2], row) - c;
        const bool here = t >= 0 && t < n;
        const float logit = here ? logits[i * n + t] : 0;
        class_gradients(logits + i * n, n, log_norms[row], uniform, grad, to, dtype_);
        if (!here) continue;
        const float at_target = (std::exp(logit - log_norms[row]) - uniform - (1 - smoothing)) * grad;
        narrow_row(dtype_, &at_target, to + t * element(), 1);
      }
    });
  }

  ProductPair first_;
  ProductPair more_;
  std::size_t gradient_at_ = 0;
};

/// Whether there is something fast for all the products above.
bool available(DType dtype) {
  const auto probe = [](DType type) {
    constexpr std::int64_t n = 16;
    for (const MatrixStrides a : {MatrixStrides{n, 1}, MatrixStrides{1, n}})
      for (const MatrixStrides b : {MatrixStrides{n, 1}, MatrixStrides{1, n}})
        if (!MatrixProduct::make({.m = n, .n = n, .k = n, .a = a, .b = b, .batch = {}}, type,
                                 {.c = DType::f32, .accumulate = true}))
          return false;
    return true;
  };
  static const bool f32 = probe(DType::f32);
  static const bool bf16 = probe(DType::bf16);
  return dtype == DType::f32 ? f32 : dtype == DType::bf16 && bf16;
}

bool supports(const KernelRequest& request) {
  const DType hidden = request.inputs[0].dtype;
  const DType weight = request.inputs[1].dtype;
  if (request.inputs[0].shape().elements() == 0 || !available(hidden)) return false;
  return weight == hidden || (hidden == DType::f32 && weight != DType::f64);
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

namespace cpu_kernels {
Entries linear_cross_entropy() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
