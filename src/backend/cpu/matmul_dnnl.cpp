#include "backend/cpu/matmul_dnnl.h"

#include <dnnl.hpp>
#include <string_view>
#include <unordered_map>

#include "wick/error.h"

namespace wick {
namespace {

using Dims = dnnl::memory::dims;

/// Batch dimensions given to oneDNN; the outer ones are walked here.
constexpr std::size_t inner_batch_dims = 2;

const dnnl::engine& cpu_engine() {
  // Never destroyed: workers may outlive static objects.
  static const dnnl::engine& engine = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& thread_stream() {
  thread_local dnnl::stream stream(cpu_engine());
  return stream;
}

dnnl::memory::data_type data_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

}  // namespace

struct DnnlMatmul::Parts {
  std::vector<MatmulProblem::Batch> outer;
  std::int64_t element = 0;
  std::int64_t c_step = 0;  // elements of c per step of the outer batch
  dnnl::matmul primitive;
  dnnl::memory::desc a;
  dnnl::memory::desc b;
  dnnl::memory::desc c;
  dnnl::memory::desc bias;
  dnnl::memory::desc scratch;
};

DnnlMatmul::DnnlMatmul(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
DnnlMatmul::~DnnlMatmul() = default;

std::unique_ptr<const DnnlMatmul> DnnlMatmul::make(const MatmulProblem& problem, DType dtype,
                                                   std::int64_t c_row_stride, std::optional<DType> bias) {
  auto parts = std::make_unique<Parts>();
  const std::size_t rank = problem.batch.size();
  std::size_t split = rank - std::min(rank, inner_batch_dims);
  // Dimensions that oneDNN has no form for: one that repeats both operands, or is walked backwards.
  for (std::size_t i = split; i < rank; ++i) {
    const auto& dim = problem.batch[i];
    if ((dim.a == 0 && dim.b == 0) || dim.a < 0 || dim.b < 0) split = i + 1;
  }
  Dims a_dims;
  Dims b_dims;
  Dims c_dims;
  Dims a_strides;
  Dims b_strides;
  for (std::size_t i = 0; i < rank; ++i) {
    const auto& dim = problem.batch[i];
    if (i < split) {
      parts->outer.push_back(dim);
      continue;
    }
    a_dims.push_back(dim.a == 0 ? 1 : dim.size);
    b_dims.push_back(dim.b == 0 ? 1 : dim.size);
    c_dims.push_back(dim.size);
    a_strides.push_back(dim.a == 0 ? problem.m * problem.k : dim.a);
    b_strides.push_back(dim.b == 0 ? problem.k * problem.n : dim.b);
  }
  a_dims.insert(a_dims.end(), {problem.m, problem.k});
  b_dims.insert(b_dims.end(), {problem.k, problem.n});
  c_dims.insert(c_dims.end(), {problem.m, problem.n});
  a_strides.insert(a_strides.end(), {problem.a.row, problem.a.column});
  b_strides.insert(b_strides.end(), {problem.b.row, problem.b.column});
  Dims c_strides(c_dims.size(), 1);
  c_strides[c_dims.size() - 2] = c_row_stride;
  for (std::size_t i = c_dims.size() - 2; i-- > 0;) c_strides[i] = c_strides[i + 1] * c_dims[i + 1];
  parts->c_step = c_dims.size() > 2 ? c_strides[0] * c_dims[0] : problem.m * c_row_stride;
  parts->element = static_cast<std::int64_t>(size_of(dtype));

  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  try {
    const auto type = data_type(dtype);
    parts->a = {a_dims, type, a_strides};
    parts->b = {b_dims, type, b_strides};
    parts->c = {c_dims, type, c_strides};
    std::optional<dnnl::matmul::desc> desc;
    if (bias) {
      Dims bias_dims(c_dims.size(), 1);
      bias_dims.back() = problem.n;
      parts->bias = {bias_dims, data_type(*bias), Dims(c_dims.size(), 1)};
      desc.emplace(parts->a, parts->b, parts->bias, parts->c);
    } else {
      desc.emplace(parts->a, parts->b, parts->c);
    }
    const dnnl::matmul::primitive_desc chosen(*desc, attributes, cpu_engine());
    if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return nullptr;
    parts->primitive = dnnl::matmul(chosen);
    parts->scratch = chosen.scratchpad_desc();
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return nullptr;
    throw InternalError(std::string("oneDNN refused a matmul: ") + error.what());
  }
  return std::unique_ptr<const DnnlMatmul>(new DnnlMatmul(std::move(parts)));
}

bool DnnlMatmul::available(DType dtype) {
  const auto probe = [](DType type) {
    const Layout square = Layout::contiguous({16, 16});
    return make(MatmulProblem::of(square, square, square.shape), type, 16) != nullptr;
  };
  static const bool f32 = probe(DType::f32);
  static const bool bf16 = probe(DType::bf16);
  return dtype == DType::f32 ? f32 : dtype == DType::bf16 && bf16;
}

std::size_t DnnlMatmul::scratch_bytes() const noexcept { return parts_->scratch.get_size(); }

void DnnlMatmul::run(const void* a, const void* b, const void* bias, void* c, void* scratch) const {
  const Parts& parts = *parts_;
  const dnnl::engine& engine = cpu_engine();
  const auto memory = [&](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, engine, const_cast<void*>(data));
  };
  const auto at = [&](const void* base, std::int64_t elements) {
    return static_cast<const std::byte*>(base) + elements * parts.element;
  };
  try {
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(parts.a, a)},
                                                    {DNNL_ARG_WEIGHTS, memory(parts.b, b)},
                                                    {DNNL_ARG_DST, memory(parts.c, c)},
                                                    {DNNL_ARG_SCRATCHPAD, memory(parts.scratch, scratch)}};
    if (bias) arguments.emplace(DNNL_ARG_BIAS, memory(parts.bias, bias));
    for_each_batch(parts.outer, [&](std::int64_t i, std::int64_t a_offset, std::int64_t b_offset) {
      arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<std::byte*>(at(a, a_offset)));
      arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<std::byte*>(at(b, b_offset)));
      arguments.at(DNNL_ARG_DST).set_data_handle(const_cast<std::byte*>(at(c, i * parts.c_step)));
      parts.primitive.execute(thread_stream(), arguments);
    });
    thread_stream().wait();
  } catch (const dnnl::error& error) {
    throw InternalError(std::string("oneDNN failed at a matmul: ") + error.what());
  }
}

}  // namespace wick
