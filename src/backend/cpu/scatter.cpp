#include <cstring>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/float_convert.h"
#include "backend/cpu/indexing.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

namespace wick {
namespace {

/// Row-major x as [outer, size, inner], updates as [outer, count, inner]; one index for each update, or, for
/// index_add, one for each of the `count` rows.
struct Geometry {
  std::int64_t outer;
  std::int64_t size;
  std::int64_t inner;
  std::int64_t count;
  bool index_a_row;

  std::int64_t elements() const { return outer * size * inner; }
  std::int64_t updates() const { return outer * count * inner; }
};

Geometry geometry_of(const KernelRequest& request, bool index_a_row) {
  const Shape& x = request.output.shape();
  const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
  return {x.slice(0, axis).elements(), x[axis], x.slice(axis + 1, x.rank()).elements(),
          request.inputs[2].shape()[axis], index_a_row};
}

struct AddUpdate {
  template <typename A, typename T>
  static void apply(A& target, T update) {
    target = wrapping_add<A>(target, wide(update));
  }
};

struct SetUpdate {
  template <typename T>
  static void apply(T& target, T update) {
    target = update;
  }
};

/// Each thread takes some of the outer x inner lines along the axis, so updates of a place come in order.
template <typename Update, typename A, typename T>
void scatter_lines(const Geometry& g, const std::int64_t* indices, const T* updates, A* out) {
  parallel_rows(g.outer * g.inner, g.count, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end;) {
      const std::int64_t o = line / g.inner;
      const std::int64_t first = line % g.inner;
      const std::int64_t last = std::min(g.inner, first + end - line);
      for (std::int64_t i = 0; i < g.count; ++i) {
        const std::int64_t row = (o * g.count + i) * g.inner;
        A* const targets = out + o * g.size * g.inner;
        if (g.index_a_row) {
          A* const target = targets + indices[i] * g.inner;
          for (std::int64_t k = first; k < last; ++k) Update::apply(target[k], updates[row + k]);
        } else {
          for (std::int64_t k = first; k < last; ++k)
            Update::apply(targets[indices[row + k] * g.inner + k], updates[row + k]);
        }
      }
      line += last - first;
    }
  });
}

/// What index_add, scatter_add and scatter share. The output may lie in x, or in updates of the same shape:
/// those are copied first.
template <typename Update>
class ScatterKernel final : public Kernel {
 public:
  ScatterKernel(const KernelRequest& request, bool index_a_row)
      : indices_(request.inputs[1]),
        dtype_(request.output.dtype),
        geometry_(geometry_of(request, index_a_row)),
        adds_in_f32_(std::is_same_v<Update, AddUpdate> && (dtype_ == DType::bf16 || dtype_ == DType::f16)) {
    const auto bytes = static_cast<std::size_t>(geometry_.elements()) * size_of(dtype_);
    if (adds_in_f32_)
      more_scratch_ = static_cast<std::size_t>(geometry_.elements()) * sizeof(float);
    else if (geometry_.updates() == geometry_.elements())
      more_scratch_ = bytes;
  }

  std::size_t scratch_bytes() const override { return resolved_bytes(indices_) + more_scratch_; }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* const indices = static_cast<std::int64_t*>(scratch);
    resolve_indices(indices_, inputs[1], geometry_.size, indices);
    if (geometry_.elements() == 0) return;
    void* const more = static_cast<std::byte*>(scratch) + resolved_bytes(indices_);
    visit_dtype(dtype_, [&]<typename T>() {
      if constexpr (is_narrow_float<T> && std::is_same_v<Update, AddUpdate>)
        add_in_f32<T>(inputs, indices, output, static_cast<float*>(more));
      else
        scatter<T>(inputs, indices, output, more);
    });
  }

 private:
  template <typename T>
  void scatter(const void* const* inputs, const std::int64_t* indices, void* output, void* more) const {
    const void* updates = inputs[2];
    const auto bytes = static_cast<std::size_t>(geometry_.elements()) * sizeof(T);
    if (updates == output && geometry_.updates() == geometry_.elements()) {
      std::memcpy(more, updates, bytes);
      updates = more;
    }
    if (output != inputs[0]) std::memcpy(output, inputs[0], bytes);
    scatter_lines<Update>(geometry_, indices, static_cast<const T*>(updates), static_cast<T*>(output));
  }

  template <typename T>
  void add_in_f32(const void* const* inputs, const std::int64_t* indices, void* output, float* sums) const {
    widen_row(dtype_, inputs[0], sums, geometry_.elements());
    scatter_lines<Update>(geometry_, indices, static_cast<const T*>(inputs[2]), sums);
    narrow_row(dtype_, sums, output, geometry_.elements());
  }

  Slot indices_;
  DType dtype_;
  Geometry geometry_;
  bool adds_in_f32_;
  std::size_t more_scratch_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> prepare_index_add(const KernelRequest& request) {
  return std::make_unique<ScatterKernel<AddUpdate>>(request, true);
}

std::unique_ptr<Kernel> prepare_scatter_add(const KernelRequest& request) {
  return std::make_unique<ScatterKernel<AddUpdate>>(request, false);
}

std::unique_ptr<Kernel> prepare_scatter(const KernelRequest& request) {
  return std::make_unique<ScatterKernel<SetUpdate>>(request, false);
}

}  // namespace wick
