#include "backend/cpu/chunk_product.h"

#include <dnnl.hpp>
#include <string_view>
#include <unordered_map>

#include "wick/error.h"

namespace wick {
namespace {

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

}  // namespace

struct ChunkProduct::Parts {
  dnnl::matmul primitive;
  dnnl::memory::desc a;
  dnnl::memory::desc b;
  dnnl::memory::desc c;
  dnnl::memory::desc scratch;
};

ChunkProduct::ChunkProduct(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ChunkProduct::~ChunkProduct() = default;

std::unique_ptr<const ChunkProduct> ChunkProduct::make(const MatmulProblem& p, DType operands, bool add) {
  using Type = dnnl::memory::data_type;
  const Type type = operands == DType::bf16 ? Type::bf16 : Type::f32;
  auto parts = std::make_unique<Parts>();
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  try {
    parts->a = {{p.m, p.k}, type, dnnl::memory::dims{p.a.row, p.a.column}};
    parts->b = {{p.k, p.n}, type, dnnl::memory::dims{p.b.row, p.b.column}};
    parts->c = {{p.m, p.n}, Type::f32, dnnl::memory::dims{p.n, 1}};
    const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(parts->a, parts->b, parts->c), attributes,
                                              cpu_engine());
    if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return nullptr;
    parts->primitive = dnnl::matmul(chosen);
    parts->scratch = chosen.scratchpad_desc();
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return nullptr;
    throw InternalError(std::string("oneDNN refused a matmul: ") + error.what());
  }
  return std::unique_ptr<const ChunkProduct>(new ChunkProduct(std::move(parts)));
}

std::size_t ChunkProduct::scratch_bytes() const noexcept { return parts_->scratch.get_size(); }

void ChunkProduct::run(const void* a, const void* b, float* c, void* scratch) const {
  const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, cpu_engine(), const_cast<void*>(data));
  };
  try {
    dnnl::stream stream(cpu_engine());
    parts_->primitive.execute(stream, {{DNNL_ARG_SRC, memory(parts_->a, a)},
                                       {DNNL_ARG_WEIGHTS, memory(parts_->b, b)},
                                       {DNNL_ARG_DST, memory(parts_->c, c)},
                                       {DNNL_ARG_SCRATCHPAD, memory(parts_->scratch, scratch)}});
    stream.wait();
  } catch (const dnnl::error& error) {
    throw InternalError(std::string("oneDNN failed at a matmul: ") + error.what());
  }
}

}  // namespace wick
