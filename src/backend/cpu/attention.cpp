#include <omp.h>

#include <algorithm>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

/// Element steps of a tensor that broadcasts to rank 4; 0 along dimensions that are absent or of size 1.
AttentionSteps steps_of(const Layout& layout) {
  AttentionSteps steps{};
  const int rank = layout.shape.rank();
  for (int i = 0; i < rank; ++i)
    if (layout.shape[i] > 1)
      steps[static_cast<std::size_t>(4 - rank + i)] = layout.strides[static_cast<std::size_t>(i)];
  return steps;
}

AttentionShape shape_of(const KernelRequest& request) {
  const auto options = request.attrs.as<AttentionAttrs>();
  const Shape& q = request.inputs[0].shape();
  const Shape& k = request.inputs[1].shape();
  AttentionShape shape{};
  shape.dtype = request.output.dtype;
  shape.batch = q[0];
  shape.heads = q[1];
  shape.kv_heads = k[1];
  shape.m = q[2];
  shape.n = k[2];
  shape.d = q[3];
  shape.scale = static_cast<float>(options.scale);
  shape.causal = options.causal != 0;
  shape.window = options.window;
  shape.q = steps_of(request.inputs[0].layout);
  shape.k = steps_of(request.inputs[1].layout);
  shape.v = steps_of(request.inputs[2].layout);
  shape.has_mask = options.has_mask != 0;
  if (shape.has_mask) {
    shape.mask_dtype = request.inputs[3].dtype;
    shape.mask = steps_of(request.inputs[3].layout);
  }
  return shape;
}

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const KernelRequest& request) : shape_(shape_of(request)) {
    const auto options = request.attrs.as<AttentionAttrs>();
    if (options.has_offset) offset_input_ = options.has_mask ? 4 : 3;
    if (request.output.shape().elements() == 0) return;
    // Few queries of each head: those of all heads that read the same keys are worked on together.
    constexpr std::int64_t few_queries = 16;
    heads_a_list_ = shape_.m < few_queries ? shape_.group() : 1;
    const std::int64_t rows = heads_a_list_ * shape_.m;
    tiles_a_list_ = (rows + attention_tile_rows - 1) / attention_tile_rows;
    tiles_ = shape_.batch * (shape_.heads / heads_a_list_) * tiles_a_list_;
    const bool together = (shape_.k[3] == 1 && shape_.v[3] == 1) || shape_.d == 1;
    by_rows_ = rows <= attention_few_rows && together;
    workers_ = std::min<std::int64_t>(tiles_, omp_get_max_threads());
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(workers_) * attention_scratch_floats(shape_) * sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    // Beyond this no key is visible, or all are; the bound keeps sums of positions from overflowing.
    constexpr std::int64_t farthest = std::int64_t{1} << 48;
    const std::int64_t offset =
        offset_input_ == 0
            ? shape_.n - shape_.m
            : std::clamp(*static_cast<const std::int64_t*>(inputs[offset_input_]), -farthest, farthest);
    const AttentionData data{inputs[0], inputs[1], inputs[2], shape_.has_mask ? inputs[3] : nullptr,
                             offset,    output};
    const auto scratch_floats = static_cast<std::int64_t>(attention_scratch_floats(shape_));
    // Later tiles see more keys when causal: workers take turns.
    parallel_for(workers_, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t worker = first; worker < last; ++worker) {
        float* own = static_cast<float*>(scratch) + worker * scratch_floats;
        for (std::int64_t i = worker; i < tiles_; i += workers_) run_tile(data, i, own);
      }
    });
  }

 private:
  void run_tile(const AttentionData& data, std::int64_t index, float* scratch) const {
    const std::int64_t lists = shape_.heads / heads_a_list_;
    const std::int64_t begin = index % tiles_a_list_ * attention_tile_rows;
    const std::int64_t list = index / tiles_a_list_;
    const AttentionTile tile{list / lists, list % lists * heads_a_list_, begin,
                             std::min(begin + attention_tile_rows, heads_a_list_ * shape_.m)};
    if (by_rows_)
      run_attention_rows(shape_, data, tile, scratch);
    else
      run_attention_tile(shape_, data, tile, scratch);
  }

  AttentionShape shape_;
  std::size_t offset_input_ = 0;  // 0: none
  std::int64_t heads_a_list_ = 1;
  std::int64_t tiles_a_list_ = 0;
  std::int64_t tiles_ = 0;
  std::int64_t workers_ = 0;
  bool by_rows_ = false;
};

bool supports(const KernelRequest& request) { return request.output.dtype != DType::f64; }

constexpr KernelEntry entries[] = {
    {.op = "attention",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<AttentionKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries attention() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
