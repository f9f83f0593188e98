#include <algorithm>

#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/matmul.h"
#include "backend/cuda/matmul_kernels.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

/// With as few rows, products are bound by reading the weight, and have kernels of their own.
constexpr std::int64_t most_few_rows = 64;

std::int64_t rows_of(const KernelRequest& request) {
  return request.output.shape().elements() / request.output.shape().dim(-1);
}

MatmulProblem problem_of(const KernelRequest& request) {
  const std::int64_t n = request.output.shape().dim(-1);
  const std::int64_t k = request.inputs[0].shape().dim(-1);
  const bool transposed = request.attrs.as<LinearEpilogueAttrs>().transposed != 0;
  const MatrixStrides weight = transposed ? MatrixStrides{n, 1} : MatrixStrides{1, k};
  return {.m = rows_of(request), .n = n, .k = k, .a = {k, 1}, .b = weight, .batch = {}};
}

LtProblem library_problem(const MatmulProblem& problem, DType dtype, const LinearEpilogueAttrs& epilogue) {
  LtProblem p = LtProblem::of(problem, dtype);
  p.bias = epilogue.has_bias != 0;
  p.adds = epilogue.combination == Combination::add;
  p.activation = epilogue.activation;
  return p;
}

/// By one kernel of cuBLASLt; where the addresses are none that it takes, by two.
class EpilogueKernel final : public Kernel {
 public:
  explicit EpilogueKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        epilogue_(request.attrs.as<LinearEpilogueAttrs>()),
        count_(request.output.shape().elements()),
        last_(request.inputs.size() - 1),
        product_(problem_of(request), dtype_, epilogue_.has_bias ? std::optional(dtype_) : std::nullopt),
        library_(library_problem(problem_of(request), dtype_, epilogue_)) {}

  std::size_t scratch_bytes() const override {
    return std::max(product_.scratch_bytes(), library_.workspace_bytes());
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    const void* bias = epilogue_.has_bias ? inputs[2] : nullptr;
    const void* added = epilogue_.combination == Combination::add ? inputs[last_] : nullptr;
    const bool takes_bias = reinterpret_cast<std::uintptr_t>(bias) % 16 == 0;
    if (takes_bias && library_.run(inputs[0], inputs[1], bias, output, scratch, added)) return;
    product_.run(inputs[0], inputs[1], bias, output, scratch);
    launch_epilogue(dtype_, output, epilogue_.activation, added, count_, current_launch().stream);
  }

 private:
  DType dtype_;
  LinearEpilogueAttrs epilogue_;
  std::int64_t count_;
  std::size_t last_;
  Product product_;
  LtMatmul library_;
};

/// cuBLASLt activates last. Its GELU is tanh's, to the accuracy of 16-bit floats; its ReLU may make 0 of NaN.
bool is_in_library(const LinearEpilogueAttrs& epilogue, DType dtype) {
  switch (epilogue.activation) {
    case Activation::none: return epilogue.combination != Combination::mul;
    case Activation::gelu_tanh: return epilogue.combination == Combination::none && dtype != DType::f32;
    default: return false;
  }
}

bool supports(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16) return false;
  if (request.output.shape().elements() == 0 || request.inputs[0].shape().elements() == 0) return false;
  const bool one_dtype = std::all_of(request.inputs.begin(), request.inputs.end(),
                                     [&](const Slot& input) { return input.dtype == dtype; });
  const auto width = static_cast<std::int64_t>(16 / size_of(dtype));
  return one_dtype && rows_of(request) > most_few_rows && request.output.shape().dim(-1) % width == 0 &&
         request.inputs[0].shape().dim(-1) % width == 0 &&
         is_in_library(request.attrs.as<LinearEpilogueAttrs>(), dtype);
}

constexpr KernelEntry entries[] = {
    {.op = "linear_epilogue",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<EpilogueKernel>(request);
     },
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::linear_epilogue() { return entries; }

}  // namespace wick::cuda
