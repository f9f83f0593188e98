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

/// `mask` is the position of the mask among the inputs, if there is one.
AttentionShape shape_of(const KernelRequest& request, std::size_t mask) {
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
  shape.out = steps_of(request.output.layout);
  shape.has_mask = options.has_mask != 0;
  if (shape.has_mask) {
    shape.mask_dtype = request.inputs[mask].dtype;
    shape.mask = steps_of(request.inputs[mask].layout);
  }
  return shape;
}

/// Position of query 0, from data or (`input` 0) from the lengths.
std::int64_t offset_of(const AttentionShape& shape, const void* const* inputs, std::size_t input) {
  // Beyond this no key is visible, or all are; the bound keeps sums of positions from overflowing.
  constexpr std::int64_t farthest = std::int64_t{1} << 48;
  if (input == 0) return shape.n - shape.m;
  return std::clamp(*static_cast<const std::int64_t*>(inputs[input]), -farthest, farthest);
}

/// With few queries a head, those of all heads that read the same keys are worked on together.
std::int64_t heads_a_list(const AttentionShape& shape) {
  constexpr std::int64_t few_queries = 16;
  return shape.m < few_queries ? shape.group() : 1;
}

/// Whether AMX pays for writing the keys once more: rows of queries that read each of them.
bool amx_pays(const AttentionShape& shape) {
  return shape.dtype == DType::bf16 && shape.group() * shape.m >= amx_step && AmxTiles::available();
}

/// What kernels write before their tiles are computed: keys and values as AMX reads them.
struct SharedBlocks {
  SharedBlocks(const AttentionShape& shape, int count)
      : elements(shape.amx ? AttentionBlocks(shape).all_elements() : 0), copies(count) {}
  std::int64_t floats() const { return elements * copies / 2; }
  bfloat16* copy(float* scratch, int index) const {
    return reinterpret_cast<bfloat16*>(scratch) + index * elements;
  }
  std::int64_t elements = 0;
  int copies = 0;
};

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const KernelRequest& request) : shape_(shape_of(request, 3)) {
    const auto options = request.attrs.as<AttentionAttrs>();
    if (options.has_offset) offset_input_ = options.has_mask ? 4 : 3;
    if (request.output.shape().elements() == 0) return;
    heads_a_list_ = heads_a_list(shape_);
    const std::int64_t rows = heads_a_list_ * shape_.m;
    tiles_a_list_ = (rows + attention_tile_rows - 1) / attention_tile_rows;
    tiles_ = shape_.batch * (shape_.heads / heads_a_list_) * tiles_a_list_;
    const bool together = (shape_.k[3] == 1 && shape_.v[3] == 1) || shape_.d == 1;
    by_rows_ = rows <= attention_few_rows && together;
    shape_.amx = !by_rows_ && amx_pays(shape_);
    shared_ = SharedBlocks(shape_, 2);
    // Waking another thread takes as long as this many products.
    constexpr std::int64_t least_products = 1 << 17;
    const std::int64_t products = 2 * shape_.batch * shape_.heads * shape_.m * shape_.n * shape_.d;
    workers_ = std::max<std::int64_t>(
        1, std::min({tiles_, std::int64_t{omp_get_max_threads()}, products / least_products}));
  }

  std::size_t scratch_bytes() const override {
    return (static_cast<std::size_t>(shared_.floats()) +
            static_cast<std::size_t>(workers_) * attention_scratch_floats(shape_)) *
           sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    AttentionData data{};
    data.q = inputs[0];
    data.k = inputs[1];
    data.v = inputs[2];
    if (shape_.has_mask) data.mask = inputs[3];
    data.offset = offset_of(shape_, inputs, offset_input_);
    data.out = output;
    float* floats = static_cast<float*>(scratch);
    if (shape_.amx && tiles_ > 0) {
      bfloat16* key_rows = shared_.copy(floats, 0);
      bfloat16* value_columns = shared_.copy(floats, 1);
      write_attention_blocks(shape_, data.offset, data.k, shape_.k, key_rows, nullptr);
      write_attention_blocks(shape_, data.offset, data.v, shape_.v, nullptr, value_columns);
      data.key_rows = key_rows;
      data.value_columns = value_columns;
    }
    floats += shared_.floats();
    const auto scratch_floats = static_cast<std::int64_t>(attention_scratch_floats(shape_));
    // Later tiles see more keys when causal: workers take turns.
    parallel_for(workers_, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t worker = first; worker < last; ++worker) {
        float* own = floats + worker * scratch_floats;
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
  SharedBlocks shared_{shape_, 0};
  std::size_t offset_input_ = 0;  // 0: none
  std::int64_t heads_a_list_ = 1;
  std::int64_t tiles_a_list_ = 0;
  std::int64_t tiles_ = 0;
  std::int64_t workers_ = 0;
  bool by_rows_ = false;
};

/// Inputs are q, k, v, output, its gradient, [mask,] [offset]; the output holds the gradients of q, k and v.
/// The queries of the heads that share a key head are one list of tiles, whose parts of k's and v's gradients
/// are summed in f32: a worker takes whole lists where there are enough of them, else all share each list,
/// every one with sums of its own.
class AttentionGradientKernel final : public Kernel {
 public:
  explicit AttentionGradientKernel(const KernelRequest& request)
      : shape_(shape_of(request, 5)),
        out_(steps_of(request.inputs[3].layout)),
        grad_(steps_of(request.inputs[4].layout)) {
    const auto options = request.attrs.as<AttentionAttrs>();
    if (options.has_offset) offset_input_ = options.has_mask ? 6 : 5;
    shape_.amx = amx_pays(shape_);
    shared_ = SharedBlocks(shape_, 3);
    heads_a_tile_ = heads_a_list(shape_);
    tiles_a_head_ = (heads_a_tile_ * shape_.m + attention_tile_rows - 1) / attention_tile_rows;
    tiles_ = shape_.group() / heads_a_tile_ * tiles_a_head_;
    lists_ = request.output.shape().elements() == 0 ? 0 : shape_.batch * shape_.kv_heads;
    const std::int64_t threads = omp_get_max_threads();
    whole_lists_ = lists_ >= 4 * threads || lists_ % threads == 0;
    workers_ = std::max<std::int64_t>(1, std::min(threads, whole_lists_ ? lists_ : tiles_));
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(shared_.floats() + workers_ * (key_sums() + tile_floats())) *
           sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    AttentionGradientData data{};
    AttentionData& forward = data.forward;
    forward.q = inputs[0];
    forward.k = inputs[1];
    forward.v = inputs[2];
    if (shape_.has_mask) forward.mask = inputs[5];
    forward.offset = offset_of(shape_, inputs, offset_input_);
    data.out = inputs[3];
    data.grad = inputs[4];
    data.out_steps = out_;
    data.grad_steps = grad_;
    data.q_gradient = output;
    float* sums = static_cast<float*>(scratch) + shared_.floats();
    if (shape_.amx && lists_ > 0) {
      const auto copy = [&](int index) { return shared_.copy(static_cast<float*>(scratch), index); };
      write_attention_blocks(shape_, forward.offset, forward.k, shape_.k, copy(0), copy(1));
      write_attention_blocks(shape_, forward.offset, forward.v, shape_.v, copy(2), nullptr);
      forward.key_rows = copy(0);
      forward.key_columns = copy(1);
      forward.value_rows = copy(2);
    }
    if (whole_lists_) {
      parallel_for(workers_, 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t worker = first; worker < last; ++worker)
          for (std::int64_t list = worker; list < lists_; list += workers_) {
            add_tiles(data, list, 0, 1, sums, worker);
            write(list, sums + worker * key_sums(), 1, 0, shape_.n, output);
          }
      });
      return;
    }
    for (std::int64_t list = 0; list < lists_; ++list) {
      // Later tiles see more keys when causal: workers take turns.
      parallel_for(workers_, 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t worker = first; worker < last; ++worker)
          add_tiles(data, list, worker, workers_, sums, worker);
      });
      parallel_for(shape_.n, 256, [&](std::int64_t begin, std::int64_t end) {
        write(list, sums, workers_, begin, end, output);
      });
    }
  }

 private:
  std::int64_t key_sums() const { return 2 * attention_sums(shape_); }
  std::int64_t tile_floats() const {
    return static_cast<std::int64_t>(attention_gradient_scratch_floats(shape_));
  }

  void add_tiles(const AttentionGradientData& data, std::int64_t list, std::int64_t first, std::int64_t step,
                 float* all_sums, std::int64_t worker) const {
    float* sums = all_sums + worker * key_sums();
    float* own = all_sums + workers_ * key_sums() + worker * tile_floats();
    std::fill_n(sums, key_sums(), 0.0f);
    for (std::int64_t i = first; i < tiles_; i += step) {
      const std::int64_t head = list % shape_.kv_heads * shape_.group() + i / tiles_a_head_ * heads_a_tile_;
      const std::int64_t begin = i % tiles_a_head_ * attention_tile_rows;
      const std::int64_t end = std::min(begin + attention_tile_rows, heads_a_tile_ * shape_.m);
      add_attention_gradient(shape_, data, {list / shape_.kv_heads, head, begin, end}, sums, own);
    }
  }

  void write(std::int64_t list, const float* sums, std::int64_t parts, std::int64_t begin, std::int64_t end,
             void* output) const {
    const std::int64_t q = shape_.batch * shape_.heads * shape_.m * shape_.d;
    const std::int64_t k = shape_.batch * shape_.kv_heads * shape_.n * shape_.d;
    const AttentionSteps steps = side_by_side(shape_.kv_heads, shape_.n, shape_.d);
    const std::int64_t at = q + list / shape_.kv_heads * steps[0] + list % shape_.kv_heads * steps[1];
    const auto address = [&](std::int64_t element) {
      return static_cast<std::byte*>(output) + element * static_cast<std::int64_t>(size_of(shape_.dtype));
    };
    write_key_gradients(shape_, sums, parts, begin, end, address(at), address(at + k));
  }

  AttentionShape shape_;
  SharedBlocks shared_{shape_, 0};
  AttentionSteps out_;
  AttentionSteps grad_;
  std::size_t offset_input_ = 0;  // 0: none
  std::int64_t heads_a_tile_ = 1;
  std::int64_t tiles_a_head_ = 0;
  std::int64_t tiles_ = 0;  // of a list
  std::int64_t lists_ = 0;
  std::int64_t workers_ = 0;
  bool whole_lists_ = false;
};

bool supports(const KernelRequest& request) { return request.output.dtype != DType::f64; }

constexpr KernelEntry entries[] = {
    {.op = "attention",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<AttentionKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports,
     .any_row_order = true},
    {.op = "attention_gradient",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<AttentionGradientKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries attention() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
