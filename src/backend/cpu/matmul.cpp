#include <algorithm>
#include <cstring>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/linear.h"
#include "backend/cpu/matmul_rows.h"
#include "backend/cpu/matrix_product.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/weight_product.h"
#include "backend/matmul_problem.h"
#include "wick/error.h"

namespace wick {
namespace {

/// Nothing to sum: zeros.
class ZeroKernel final : public Kernel {
 public:
  explicit ZeroKernel(std::size_t bytes) : bytes_(bytes) {}
  void run(const void* const*, void* output, void*) const override {
    if (bytes_ > 0) std::memset(output, 0, bytes_);
  }

 private:
  std::size_t bytes_;
};

/// A product of the operands as they lie, or of a packed b.
class DirectKernel final : public Kernel {
 public:
  explicit DirectKernel(WeightProduct product) : product_(std::move(product)) {}
  std::size_t scratch_bytes() const override { return product_.product->scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    product_.product->run(inputs[0], inputs[1], nullptr, output, scratch);
  }
  std::span<const Packing> packings() const override { return product_.packings; }
  void pack(const Packing&, const void* input, void* packed) const override {
    product_.product->pack(input, packed);
  }

 private:
  WeightProduct product_;
};

/// A matrix by a vector whose elements lie together, in f32, bf16 or f16; generating text is made of these.
class VectorKernel final : public Kernel {
 public:
  /// Whether the problem is of that kind; `swapped`: the matrix is a, the vector b.
  static bool fits(const MatmulProblem& p, bool swapped) {
    if (!p.batch.empty()) return false;
    return swapped ? p.n == 1 && p.a.column == 1 && p.b.row == 1
                   : p.m == 1 && p.b.row == 1 && p.a.column == 1;
  }

  VectorKernel(const MatmulProblem& problem, DType dtype, bool swapped)
      : dtype_(dtype),
        depth_(problem.k),
        rows_(swapped ? problem.m : problem.n),
        row_stride_(swapped ? problem.a.row : problem.b.column),
        matrix_input_(swapped ? 0 : 1) {}

  std::size_t scratch_bytes() const override {
    return dtype_ == DType::f32 ? 0 : static_cast<std::size_t>(depth_) * sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    const auto* matrix = static_cast<const std::byte*>(inputs[matrix_input_]);
    const void* vector = inputs[1 - matrix_input_];
    if (dtype_ != DType::f32) {
      widen_row(dtype_, vector, static_cast<float*>(scratch), depth_);
      vector = scratch;
    }
    parallel_rows(rows_, depth_, [&](std::int64_t begin, std::int64_t end) {
      dot_rows(dtype_, matrix + begin * row_stride_ * element, row_stride_, end - begin, depth_,
               static_cast<const float*>(vector), nullptr, dtype_,
               static_cast<std::byte*>(output) + begin * element);
    });
  }

 private:
  DType dtype_;
  std::int64_t depth_;
  std::int64_t rows_;
  std::int64_t row_stride_;
  std::size_t matrix_input_;
};

/// 16-bit floats where oneDNN has no product for them: through f32 copies.
class WideningKernel final : public Kernel {
 public:
  WideningKernel(const MatmulProblem& problem, DType dtype)
      : problem_(problem),
        dtype_(dtype),
        a_(problem.m, problem.k, problem.a, 0, problem.batch),
        b_(problem.k, problem.n, problem.b, 1, problem.batch),
        c_elements_(problem.batch_count() * problem.m * problem.n) {
    MatmulProblem wide = problem;
    wide.a = a_.packed;
    wide.b = b_.packed;
    for (std::size_t i = 0; i < wide.batch.size(); ++i)
      wide.batch[i] = {wide.batch[i].size, a_.packed_steps[i], b_.packed_steps[i]};
    product_ = MatrixProduct::make(wide, DType::f32);
    if (!product_) throw DTypeError("this processor has no f32 matrix product");
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(padded_floats(a_.elements) + padded_floats(b_.elements) +
                                    padded_floats(c_elements_)) *
               sizeof(float) +
           product_->scratch_bytes();
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* a = static_cast<float*>(scratch);
    float* b = a + padded_floats(a_.elements);
    float* c = b + padded_floats(b_.elements);
    a_.widen(dtype_, inputs[0], a);
    b_.widen(dtype_, inputs[1], b);
    product_->run(a, b, nullptr, c, c + padded_floats(c_elements_));
    parallel_rows(c_elements_ / problem_.n, problem_.n, [&](std::int64_t begin, std::int64_t end) {
      const auto at = begin * problem_.n;
      narrow_row(dtype_, c + at,
                 static_cast<std::byte*>(output) + at * static_cast<std::int64_t>(size_of(dtype_)),
                 (end - begin) * problem_.n);
    });
  }

 private:
  /// One operand and the order of its contiguous copy.
  struct Operand {
    Operand(std::int64_t rows, std::int64_t columns, MatrixStrides strides, int which,
            const SmallVector<MatmulProblem::Batch, 2>& batch) {
      const bool by_rows = strides.column == 1;
      lines = by_rows ? rows : columns;
      length = by_rows ? columns : rows;
      line_stride = by_rows ? strides.row : strides.column;
      packed = by_rows ? MatrixStrides{length, 1} : MatrixStrides{1, length};
      elements = lines * length;
      packed_steps.resize(batch.size());
      for (std::size_t i = batch.size(); i-- > 0;) {
        const std::int64_t step = which == 0 ? batch[i].a : batch[i].b;
        if (step == 0) continue;
        own.insert(own.begin(), {batch[i].size, step, elements});
        packed_steps[i] = elements;
        elements *= batch[i].size;
      }
    }
    void widen(DType dtype, const void* from, float* to) const {
      const auto element = static_cast<std::int64_t>(size_of(dtype));
      for_each_batch(own, [&](std::int64_t, std::int64_t offset, std::int64_t packed_offset) {
        parallel_rows(lines, length, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t line = begin; line < end; ++line)
            widen_row(dtype, static_cast<const std::byte*>(from) + (offset + line * line_stride) * element,
                      to + packed_offset + line * length, length);
        });
      });
    }
    std::int64_t lines;
    std::int64_t length;
    std::int64_t line_stride;
    std::int64_t elements;
    MatrixStrides packed;
    std::vector<std::int64_t> packed_steps;
    std::vector<MatmulProblem::Batch> own;  // b: offset in the copy
  };

  MatmulProblem problem_;
  DType dtype_;
  Operand a_;
  Operand b_;
  std::int64_t c_elements_;
  std::unique_ptr<const MatrixProduct> product_;
};

/// f64 and the integers, which exist for references and indices: blocked so that it is not slow, no more.
template <typename T>
class PlainKernel final : public Kernel {
 public:
  explicit PlainKernel(const MatmulProblem& problem) : p_(problem) {}

  void run(const void* const* inputs, void* output, void*) const override {
    auto* c = static_cast<T*>(output);
    std::fill_n(c, p_.batch_count() * p_.m * p_.n, T{});
    for_each_batch({p_.batch.data(), p_.batch.size()}, [&](std::int64_t i, std::int64_t a, std::int64_t b) {
      const T* from_a = static_cast<const T*>(inputs[0]) + a;
      const T* from_b = static_cast<const T*>(inputs[1]) + b;
      T* to = c + i * p_.m * p_.n;
      parallel_rows(p_.m, p_.n * p_.k, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k0 = 0; k0 < p_.k; k0 += block_k)
          for (std::int64_t n0 = 0; n0 < p_.n; n0 += block_n)
            add_block(from_a, from_b, to, begin, end, k0, n0);
      });
    });
  }

 private:
  /// By vectors also in builds whose compiler makes none: this is what tests under sanitizers compare with.
  using Lanes __attribute__((vector_size(16))) = T;
  static constexpr std::int64_t lanes = sizeof(Lanes) / sizeof(T);
  static constexpr std::int64_t block_k = 128;
  static constexpr std::int64_t block_n = std::max<std::int64_t>(32, lanes);

  void add_block(const T* a, const T* b, T* c, std::int64_t m_begin, std::int64_t m_end, std::int64_t k0,
                 std::int64_t n0) const {
    const std::int64_t depth = std::min(block_k, p_.k - k0);
    const std::int64_t width = std::min(block_n, p_.n - n0);
    const std::int64_t parts = (width + lanes - 1) / lanes;
    Lanes tile[block_k][block_n / lanes];
    for (std::int64_t k = 0; k < depth; ++k) {
      T line[block_n] = {};
      for (std::int64_t n = 0; n < width; ++n) line[n] = b[(k0 + k) * p_.b.row + (n0 + n) * p_.b.column];
      std::memcpy(tile[k], line, sizeof line);
    }
    for (std::int64_t m = m_begin; m < m_end; ++m) {
      T* row = c + m * p_.n + n0;
      T line[block_n] = {};
      std::copy_n(row, width, line);
      Lanes sums[block_n / lanes];
      std::memcpy(sums, line, sizeof line);
      for (std::int64_t k = 0; k < depth; ++k) {
        const T factor = a[m * p_.a.row + (k0 + k) * p_.a.column];
        for (std::int64_t part = 0; part < parts; ++part) sums[part] += factor * tile[k][part];
      }
      std::memcpy(line, sums, sizeof line);
      std::copy_n(line, width, row);
    }
  }

  MatmulProblem p_;
};

std::unique_ptr<Kernel> prepare_floating(const KernelRequest& request, const MatmulProblem& problem) {
  const DType dtype = request.output.dtype;
  for (bool swapped : {false, true})
    if (VectorKernel::fits(problem, swapped)) return std::make_unique<VectorKernel>(problem, dtype, swapped);
  if (dtype != DType::f16) {
    auto product = WeightProduct::make(request, 1, problem, dtype);
    if (product.product) return std::make_unique<DirectKernel>(std::move(product));
  }
  return std::make_unique<WideningKernel>(problem, dtype);
}

std::unique_ptr<Kernel> prepare_matmul(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  const Shape& shape = request.output.shape();
  const MatmulProblem problem = MatmulProblem::of(request.inputs[0].layout, request.inputs[1].layout, shape);
  if (shape.elements() == 0 || problem.k == 0)
    return std::make_unique<ZeroKernel>(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  // Unsigned arithmetic wraps as NumPy's does, where signed overflow would be undefined.
  switch (dtype) {
    case DType::f64: return std::make_unique<PlainKernel<double>>(problem);
    case DType::i64: return std::make_unique<PlainKernel<std::uint64_t>>(problem);
    case DType::i32: return std::make_unique<PlainKernel<std::uint32_t>>(problem);
    case DType::u8: return std::make_unique<PlainKernel<std::uint8_t>>(problem);
    default: return prepare_floating(request, problem);
  }
}

bool supports_matmul(const KernelRequest& request) { return request.output.dtype != DType::bool_; }

constexpr KernelEntry entries[] = {
    {.op = "matmul", .prepare = prepare_matmul, .layouts = InputLayouts::matrix, .supports = supports_matmul},
    {.op = "linear", .prepare = prepare_linear, .supports = supports_linear},
    {.op = "linear_epilogue", .prepare = prepare_linear_epilogue, .supports = supports_linear_epilogue},
};

}  // namespace

namespace cpu_kernels {
Entries matmul() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
