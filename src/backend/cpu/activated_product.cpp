#include "backend/cpu/activated_product.h"

#include <array>
#include <utility>

#include "backend/cpu/matmul_dnnl.h"

namespace wick {
namespace {

TileFunction tile_of(Combination combination) {
  return find_tile(combination == Combination::add ? "add" : "mul", DType::f32);
}

/// combine(activation(c), other) of inputs c and other, as one elementwise group would compute it.
ElementwiseProgram program_of(const ProductOptions& options) {
  ElementwiseProgram program;
  const auto c = program.add_register(DType::f32);
  auto result = program.add_register(DType::f32);
  program.loads.push_back({c, 0});
  program.instructions.push_back({find_tile(name_of(options.activation), DType::f32), {c, c, c}, result});
  if (options.combination != Combination::none) {
    const auto activated = std::exchange(result, program.add_register(DType::f32));
    const auto other = program.add_register(DType::f32);
    program.loads.push_back({other, 1});
    program.instructions.push_back({tile_of(options.combination), {activated, other, other}, result});
  }
  program.stores.push_back({result, 0});
  return program;
}

}  // namespace

std::unique_ptr<const MatrixProduct> ActivatedProduct::make(const MatmulProblem& problem, DType dtype,
                                                            const ProductOptions& options) {
  const bool fits = options.activation != Activation::none && problem.batch.empty() &&
                    options.c.value_or(dtype) == dtype &&
                    (options.c_row_stride == 0 || options.c_row_stride == problem.n);
  if (!fits) return nullptr;
  ProductOptions plain = options;
  plain.activation = Activation::none;
  plain.combination = Combination::none;
  auto product = DnnlMatmul::make(problem, dtype, plain);
  if (!product) return nullptr;
  const Slot c{dtype, Layout::contiguous({problem.m, problem.n})};
  ElementwiseKernel pass(program_of(options), std::array{c, c}, std::array{c});
  return std::unique_ptr<const MatrixProduct>(new ActivatedProduct(std::move(product), std::move(pass)));
}

void ActivatedProduct::run_combined(const void* a, const void* b, const void* bias, const void* combined,
                                    void* c, void* scratch) const {
  product_->run(a, b, bias, c, scratch);
  const std::array<const void*, 2> inputs{c, combined};
  pass_.run(inputs.data(), c, nullptr);
}

}  // namespace wick
