#include "backend/cpu/matmul_dnnl.h"

#include <algorithm>
#include <dnnl.hpp>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "backend/cpu/parallel.h"
#include "wick/error.h"

namespace wick {
namespace {

using Dims = dnnl::memory::dims;
using Desc = dnnl::memory::desc;

/// Batch dimensions given to oneDNN; the outer ones are walked here.
constexpr std::size_t inner_batch_dims = 2;
/// Rows for which oneDNN is asked what layout of b it prefers.
constexpr std::int64_t rows_asked_for = 64;

// A thread's share that is worth waking it: some microseconds.
constexpr double f32_flops_a_thread = 2e6;
constexpr double bf16_flops_a_thread = 8e6;

int threads_for(const MatmulProblem& p, DType dtype) {
  const double flops = 2.0 * static_cast<double>(p.batch_count() * p.m) * static_cast<double>(p.n * p.k);
  const double share = dtype == DType::bf16 ? bf16_flops_a_thread : f32_flops_a_thread;
  return static_cast<int>(std::clamp(flops / share, 1.0, static_cast<double>(omp_get_max_threads())));
}

const dnnl::engine& cpu_engine() {
  // Never destroyed: workers may outlive static objects.
  static const dnnl::engine& engine = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& thread_stream() {
  thread_local dnnl::stream stream(cpu_engine());
  return stream;
}

dnnl::memory memory(const Desc& desc, const void* data) {
  return dnnl::memory(desc, cpu_engine(), const_cast<void*>(data));
}

dnnl::memory::data_type data_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

/// Whether oneDNN's is the op's: relu makes 0 of NaN, and in f32 the others differ by a rounding, while what
/// is computed twice, as checkpointing does, must give the same bits.
bool has_activation(Activation activation, DType dtype) {
  return activation == Activation::none || (activation != Activation::relu && dtype == DType::bf16);
}

dnnl::algorithm algorithm_of(Activation activation) {
  switch (activation) {
    case Activation::gelu: return dnnl::algorithm::eltwise_gelu_erf;
    case Activation::gelu_tanh: return dnnl::algorithm::eltwise_gelu_tanh;
    default: return dnnl::algorithm::eltwise_swish;
  }
}

Desc preferred_layout(const MatmulProblem& p, dnnl::memory::data_type type) {
  using Tag = dnnl::memory::format_tag;
  return dnnl::matmul::primitive_desc(
             dnnl::matmul::desc(Desc({rows_asked_for, p.k}, type, Tag::ab), Desc({p.k, p.n}, type, Tag::any),
                                Desc({rows_asked_for, p.n}, type, Tag::ab)),
             cpu_engine())
      .weights_desc();
}

/// Operands as oneDNN describes them, and the batch dimensions that it is not given.
struct Description {
  Description(const MatmulProblem& p, DType dtype, const ProductOptions& options) {
    const std::size_t rank = p.batch.size();
    std::size_t split = rank - std::min(rank, inner_batch_dims);
    // Dimensions that oneDNN has no form for: one that repeats both operands, or is walked backwards.
    for (std::size_t i = split; i < rank; ++i) {
      const auto& dim = p.batch[i];
      if ((dim.a == 0 && dim.b == 0) || dim.a < 0 || dim.b < 0) split = i + 1;
    }
    outer.assign(p.batch.begin(), p.batch.begin() + split);
    Dims a_dims;
    Dims b_dims;
    Dims c_dims;
    Dims a_strides;
    Dims b_strides;
    for (std::size_t i = split; i < rank; ++i) {
      const auto& dim = p.batch[i];
      a_dims.push_back(dim.a == 0 ? 1 : dim.size);
      b_dims.push_back(dim.b == 0 ? 1 : dim.size);
      c_dims.push_back(dim.size);
      a_strides.push_back(dim.a == 0 ? p.m * p.k : dim.a);
      b_strides.push_back(dim.b == 0 ? p.k * p.n : dim.b);
    }
    a_dims.insert(a_dims.end(), {p.m, p.k});
    b_dims.insert(b_dims.end(), {p.k, p.n});
    c_dims.insert(c_dims.end(), {p.m, p.n});
    a_strides.insert(a_strides.end(), {p.a.row, p.a.column});
    b_strides.insert(b_strides.end(), {p.b.row, p.b.column});
    const std::int64_t row_stride = options.c_row_stride > 0 ? options.c_row_stride : p.n;
    Dims c_strides(c_dims.size(), 1);
    c_strides[c_dims.size() - 2] = row_stride;
    for (std::size_t i = c_dims.size() - 2; i-- > 0;) c_strides[i] = c_strides[i + 1] * c_dims[i + 1];
    c_step = c_dims.size() > 2 ? c_strides[0] * c_dims[0] : p.m * row_stride;
    a = {a_dims, data_type(dtype), a_strides};
    plain_b = {b_dims, data_type(dtype), b_strides};
    b = options.packed ? preferred_layout(p, data_type(dtype)) : plain_b;
    c = {c_dims, data_type(options.c.value_or(dtype)), c_strides};
    if (options.bias) {
      Dims bias_dims(c_dims.size(), 1);
      bias_dims.back() = p.n;
      bias = {bias_dims, data_type(*options.bias), Dims(c_dims.size(), 1)};
    }
  }

  std::vector<MatmulProblem::Batch> outer;
  std::int64_t c_step = 0;  // elements of c per step of the outer batch
  Desc a;
  Desc b;
  Desc plain_b;
  Desc c;
  Desc bias;
  Desc combined;
  int combination_at = 0;  // among the operations behind the product
};

/// What oneDNN does with a product before it writes it.
dnnl::primitive_attr attributes_of(const ProductOptions& options, Description& description) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops after;
  if (options.scale != 1) after.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, options.scale, 0.0f);
  if (options.accumulate) after.append_sum(1.0f);
  if (options.activation != Activation::none)
    after.append_eltwise(1.0f, algorithm_of(options.activation),
                         options.activation == Activation::silu ? 1.0f : 0.0f, 0.0f);
  if (options.combination != Combination::none) {
    description.combined = description.c;
    description.combination_at = after.len();
    after.append_binary(
        options.combination == Combination::add ? dnnl::algorithm::binary_add : dnnl::algorithm::binary_mul,
        description.combined);
  }
  attributes.set_post_ops(after);
  return attributes;
}

}  // namespace

struct DnnlMatmul::Parts {
  /// oneDNN's view of one run's operands. Making one takes as long as a small product, so they are kept.
  struct Arguments {
    explicit Arguments(const Parts& parts)
        : a(memory(parts.operands.a, nullptr)),
          b(memory(parts.operands.b, nullptr)),
          c(memory(parts.operands.c, nullptr)),
          scratch(memory(parts.scratch, nullptr)),
          all{{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, scratch}} {
      if (parts.operands.bias.data.ndims != 0) {
        bias = memory(parts.operands.bias, nullptr);
        all.emplace(DNNL_ARG_BIAS, bias);
      }
      if (parts.operands.combined.data.ndims != 0) {
        combined = memory(parts.operands.combined, nullptr);
        all.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(parts.operands.combination_at) | DNNL_ARG_SRC_1, combined);
      }
    }
    dnnl::memory a;
    dnnl::memory b;
    dnnl::memory c;
    dnnl::memory scratch;
    dnnl::memory bias;
    dnnl::memory combined;
    std::unordered_map<int, dnnl::memory> all;
  };

  std::unique_ptr<Arguments> take_arguments() {
    std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Arguments>(*this);
    auto taken = std::move(idle.back());
    idle.pop_back();
    return taken;
  }
  void give(std::unique_ptr<Arguments> arguments) {
    std::lock_guard lock(mutex);
    idle.push_back(std::move(arguments));
  }

  explicit Parts(Description described) : operands(std::move(described)) {}

  Description operands;
  int threads = 1;
  std::int64_t element = 0;
  std::int64_t c_element = 0;
  dnnl::matmul primitive;
  Desc scratch;
  dnnl::reorder packing;
  std::mutex mutex;
  std::vector<std::unique_ptr<Arguments>> idle;  // as many as there were runs at once
};

DnnlMatmul::DnnlMatmul(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
DnnlMatmul::~DnnlMatmul() = default;

std::unique_ptr<const MatrixProduct> DnnlMatmul::make(const MatmulProblem& problem, DType dtype,
                                                      const ProductOptions& options) {
  if (!has_activation(options.activation, dtype)) return nullptr;
  if (options.packed && !problem.batch.empty()) throw InternalError("a packed matmul has no batch");
  try {
    auto parts = std::make_unique<Parts>(Description(problem, dtype, options));
    parts->threads = threads_for(problem, dtype);
    const ThreadLimit limit(parts->threads);
    const dnnl::primitive_attr attributes = attributes_of(options, parts->operands);
    parts->element = static_cast<std::int64_t>(size_of(dtype));
    parts->c_element = static_cast<std::int64_t>(size_of(options.c.value_or(dtype)));
    const Description& d = parts->operands;
    const auto desc =
        options.bias ? dnnl::matmul::desc(d.a, d.b, d.bias, d.c) : dnnl::matmul::desc(d.a, d.b, d.c);
    const dnnl::matmul::primitive_desc chosen(desc, attributes, cpu_engine());
    if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return nullptr;
    parts->primitive = dnnl::matmul(chosen);
    parts->scratch = chosen.scratchpad_desc();
    if (options.packed)
      parts->packing =
          dnnl::reorder(dnnl::reorder::primitive_desc(cpu_engine(), d.plain_b, cpu_engine(), d.b));
    return std::unique_ptr<const MatrixProduct>(new DnnlMatmul(std::move(parts)));
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return nullptr;
    throw InternalError(std::string("oneDNN refused a matmul: ") + error.what());
  }
}

bool DnnlMatmul::available(DType dtype) {
  const auto probe = [](DType type) {
    const Layout square = Layout::contiguous({16, 16});
    return make(MatmulProblem::of(square, square, square.shape), type) != nullptr;
  };
  static const bool f32 = probe(DType::f32);
  static const bool bf16 = probe(DType::bf16);
  return dtype == DType::f32 ? f32 : dtype == DType::bf16 && bf16;
}

std::size_t DnnlMatmul::scratch_bytes() const noexcept { return parts_->scratch.get_size(); }

void DnnlMatmul::run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                              void* scratch) const {
  Parts& parts = *parts_;
  const Description& d = parts.operands;
  const auto at = [](const void* base, std::int64_t elements, std::int64_t size) {
    return const_cast<std::byte*>(static_cast<const std::byte*>(base) + elements * size);
  };
  const ThreadLimit limit(parts.threads);
  try {
    auto arguments = parts.take_arguments();
    arguments->scratch.set_data_handle(scratch);
    if (bias) arguments->bias.set_data_handle(const_cast<void*>(bias));
    for_each_batch(d.outer, [&](std::int64_t i, std::int64_t a_offset, std::int64_t b_offset) {
      arguments->a.set_data_handle(at(a, a_offset, parts.element));
      arguments->b.set_data_handle(at(b, b_offset, parts.element));
      arguments->c.set_data_handle(at(c, i * d.c_step, parts.c_element));
      if (combined) arguments->combined.set_data_handle(at(combined, i * d.c_step, parts.c_element));
      parts.primitive.execute(thread_stream(), arguments->all);
    });
    thread_stream().wait();
    parts.give(std::move(arguments));
  } catch (const dnnl::error& error) {
    throw InternalError(std::string("oneDNN failed at a matmul: ") + error.what());
  }
}

std::size_t DnnlMatmul::packed_bytes() const noexcept { return parts_->operands.b.get_size(); }

std::string DnnlMatmul::format() const {
  const Description& d = parts_->operands;
  std::string text;
  for (const dnnl_memory_desc_t& desc : {d.plain_b.data, d.b.data})
    text.append(reinterpret_cast<const char*>(&desc), sizeof(desc));
  return text;
}

void DnnlMatmul::pack(const void* b, void* packed) const {
  const Description& d = parts_->operands;
  try {
    parts_->packing.execute(thread_stream(),
                            {{DNNL_ARG_FROM, memory(d.plain_b, b)}, {DNNL_ARG_TO, memory(d.b, packed)}});
    thread_stream().wait();
  } catch (const dnnl::error& error) {
    throw InternalError(std::string("oneDNN failed to pack a matrix: ") + error.what());
  }
}

}  // namespace wick
