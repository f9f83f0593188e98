#include "backend/cuda/matmul.h"

#include <algorithm>
#include <limits>

#include "backend/cuda/check.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/matmul_kernels.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

const std::byte* moved(const void* data, std::int64_t elements, DType dtype) {
  return static_cast<const std::byte*>(data) + elements * static_cast<std::int64_t>(size_of(dtype));
}

bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

/// The problem as a matrix whose rows lie together by few vectors that do, if it is one; addresses are left
/// out. `matrix_is_a` says which operand the matrix is.
std::optional<ThinProduct> thin_product(const MatmulProblem& p, bool& matrix_is_a) {
  if (!p.batch.empty() || p.a.column != 1 || p.b.row != 1 || p.k % 8 != 0) return {};
  if (p.a.row % 8 != 0 || p.b.column % 8 != 0) return {};
  matrix_is_a = p.m > p.n;
  ThinProduct thin{};
  thin.depth = p.k;
  thin.rows = matrix_is_a ? p.m : p.n;
  thin.stride = matrix_is_a ? p.a.row : p.b.column;
  thin.count = matrix_is_a ? p.n : p.m;
  thin.vector_stride = matrix_is_a ? p.b.column : p.a.row;
  thin.row_step = matrix_is_a ? p.n : 1;
  thin.vector_step = matrix_is_a ? 1 : p.n;
  if (thin.count > ThinProduct::most_vectors) return {};
  return thin;
}

}  // namespace

Product::Product(const MatmulProblem& problem, DType dtype, std::optional<DType> bias, bool accumulate)
    : problem_(problem), dtype_(dtype), bias_(bias), accumulate_(accumulate), outer_(problem.batch.size()) {
  if (problem_.batch.size() > PlainProduct::most_batch_dims)
    throw InternalError("a matmul has more batch dimensions than a shape can");
  if (!is_floating(dtype_)) return;
  if (!problem_.batch.empty()) {
    const MatmulProblem::Batch& inner = problem_.batch[problem_.batch.size() - 1];
    if (inner.a >= 0 && inner.b >= 0 && inner.size <= std::numeric_limits<std::int32_t>::max()) --outer_;
  }
  library_without_bias_.emplace(library_problem(false));
  if (bias_ && dtype_ != DType::f64) library_.emplace(library_problem(true));
  workspace_bytes_ = library_without_bias_->workspace_bytes();
}

LtProblem Product::library_problem(bool bias) const {
  LtProblem p = LtProblem::of(problem_, dtype_);
  if (outer_ < problem_.batch.size()) {
    const MatmulProblem::Batch& inner = problem_.batch[outer_];
    p.batch = inner.size;
    p.a_step = inner.a;
    p.b_step = inner.b;
  }
  p.bias = bias;
  p.accumulate = accumulate_;
  return p;
}

std::size_t Product::bias_bytes() const {
  if (!bias_ || *bias_ == dtype_) return 0;
  return (static_cast<std::size_t>(problem_.n) * size_of(dtype_) + 255) / 256 * 256;
}

void Product::choose(const void* a, const void* b, void* output, void* scratch) const {
  bool matrix_is_a = false;
  if (library_without_bias_ && !(is_half(dtype_) && thin_product(problem_, matrix_is_a)))
    library_without_bias_->choose(a, b, nullptr, output, static_cast<std::byte*>(scratch) + bias_bytes());
}

void Product::run(const void* a, const void* b, const void* bias, void* output, void* scratch) const {
  if (bias && *bias_ != dtype_) {
    launch_convert(*bias_, bias, dtype_, scratch, problem_.n, current_launch().stream);
    bias = scratch;
  }
  if (run_thin(a, b, bias, output)) return;
  if (run_library(a, b, bias, output, static_cast<std::byte*>(scratch) + bias_bytes())) return;
  run_plain(a, b, bias, output);
}

bool Product::run_thin(const void* a, const void* b, const void* bias, void* output) const {
  if (!is_half(dtype_) || !is_aligned(a) || !is_aligned(b)) return false;
  bool matrix_is_a = false;
  auto thin = thin_product(problem_, matrix_is_a);
  if (!thin || (bias && matrix_is_a)) return false;
  thin->matrix = matrix_is_a ? a : b;
  thin->vectors = matrix_is_a ? b : a;
  thin->bias = bias;
  thin->out = output;
  thin->accumulate = accumulate_;
  launch_thin_product(dtype_, *thin, current_launch().stream);
  return true;
}

bool Product::run_library(const void* a, const void* b, const void* bias, void* output,
                          void* workspace) const {
  if (!library_without_bias_) return false;
  const auto inner = outer_ < problem_.batch.size() ? problem_.batch[outer_].size : 1;
  bool all = true;
  for_each_batch(
      {problem_.batch.data(), outer_}, [&](std::int64_t i, std::int64_t a_offset, std::int64_t b_offset) {
        if (!all) return;
        const std::byte* from_a = moved(a, a_offset, dtype_);
        const std::byte* from_b = moved(b, b_offset, dtype_);
        auto* to = const_cast<std::byte*>(moved(output, i * inner * problem_.m * problem_.n, dtype_));
        if (bias && library_ && is_aligned(bias) && library_->run(from_a, from_b, bias, to, workspace))
          return;
        all = library_without_bias_->run(from_a, from_b, nullptr, to, workspace);
        if (all && bias)
          launch_add_bias(dtype_, to, bias, inner * problem_.m, problem_.n, current_launch().stream);
      });
  return all;
}

void Product::run_plain(const void* a, const void* b, const void* bias, void* output) const {
  PlainProduct plain{};
  plain.a = a;
  plain.b = b;
  plain.out = output;
  plain.m = problem_.m;
  plain.n = problem_.n;
  plain.k = problem_.k;
  plain.a_row = problem_.a.row;
  plain.a_column = problem_.a.column;
  plain.b_row = problem_.b.row;
  plain.b_column = problem_.b.column;
  plain.accumulate = accumulate_;
  plain.batch = problem_.batch_count();
  for (const MatmulProblem::Batch& dim : problem_.batch) {
    plain.sizes[plain.batch_dims] = dim.size;
    plain.a_steps[plain.batch_dims] = dim.a;
    plain.b_steps[plain.batch_dims++] = dim.b;
  }
  launch_plain_product(dtype_, plain, current_launch().stream);
  if (bias) launch_add_bias(dtype_, output, bias, plain.batch * plain.m, plain.n, current_launch().stream);
}

namespace {

/// Nothing to sum: zeros.
class ZeroKernel final : public Kernel {
 public:
  explicit ZeroKernel(std::size_t bytes) : bytes_(bytes) {}
  void run(const void* const*, void* output, void*) const override {
    if (bytes_ > 0)
      check(cudaMemsetAsync(output, 0, bytes_, current_launch().stream), "a product of nothing");
  }

 private:
  std::size_t bytes_;
};

/// Inputs are a, b, [bias].
class ProductKernel final : public Kernel {
 public:
  ProductKernel(const MatmulProblem& problem, DType dtype, std::optional<DType> bias)
      : product_(problem, dtype, bias), has_bias_(bias.has_value()) {}
  std::size_t scratch_bytes() const override { return product_.scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    product_.run(inputs[0], inputs[1], has_bias_ ? inputs[2] : nullptr, output, scratch);
  }

 private:
  Product product_;
  bool has_bias_;
};

bool supports_matmul(const KernelRequest& request) { return request.output.dtype != DType::bool_; }

std::unique_ptr<Kernel> prepare_matmul(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  const Shape& shape = request.output.shape();
  const MatmulProblem problem = MatmulProblem::of(request.inputs[0].layout, request.inputs[1].layout, shape);
  if (shape.elements() == 0 || problem.k == 0)
    return std::make_unique<ZeroKernel>(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  return std::make_unique<ProductKernel>(problem, dtype, std::nullopt);
}

bool supports_linear(const KernelRequest& request) {
  if (request.output.shape().elements() == 0 || request.inputs[1].shape()[1] == 0) return false;
  return request.inputs[0].dtype == request.inputs[1].dtype;
}

std::unique_ptr<Kernel> prepare_linear(const KernelRequest& request) {
  std::optional<DType> bias;
  if (request.inputs.size() > 2) bias = request.inputs[2].dtype;
  return std::make_unique<ProductKernel>(
      linear_problem(request.inputs[0].layout, request.inputs[1].layout, request.output.shape()),
      request.output.dtype, bias);
}

constexpr KernelEntry entries[] = {
    {.op = "matmul", .prepare = prepare_matmul, .layouts = InputLayouts::matrix, .supports = supports_matmul},
    {.op = "linear", .prepare = prepare_linear, .layouts = InputLayouts::matrix, .supports = supports_linear},
};

}  // namespace

MatmulProblem linear_problem(const Layout& x, const Layout& weight, const Shape& y) {
  const Layout transposed{Shape{weight.shape[1], weight.shape[0]}, {weight.strides[1], weight.strides[0]}};
  if (x.shape.rank() > 1) return MatmulProblem::of(x, transposed, y);
  const Layout row{Shape{1, x.shape[0]}, {x.shape[0], x.strides[0]}};
  return MatmulProblem::of(row, transposed, Shape{1, y[0]});
}

namespace kernels {
Entries matmul() { return entries; }
}  // namespace kernels

}  // namespace wick::cuda
