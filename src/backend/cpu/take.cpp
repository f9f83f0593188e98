#include <cstring>
#include <span>
#include <vector>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/indexing.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/strided_walk.h"
#include "ops/attributes.h"

namespace wick {
namespace {

using Walk = StridedWalk<1>;

Walk walk_dims(const Layout& layout, int begin, int end) {
  std::vector<Walk::Dim> dims;
  for (int d = begin; d < end; ++d)
    dims.push_back({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
  return Walk(dims);
}

/// out[o, j, i] = x[o, indices[j], i], with o, j and i for several dimensions each.
class TakeKernel final : public Kernel {
 public:
  explicit TakeKernel(const KernelRequest& request)
      : indices_(request.inputs[1]),
        dtype_(request.output.dtype),
        axis_(static_cast<int>(request.attrs.as<AxisAttrs>().axis)),
        outer_(walk_dims(request.inputs[0].layout, 0, axis_)),
        inner_(walk_dims(request.inputs[0].layout, axis_ + 1, request.inputs[0].shape().rank())),
        size_(request.inputs[0].shape()[axis_]),
        stride_(request.inputs[0].layout.strides[static_cast<std::size_t>(axis_)]) {}

  std::size_t scratch_bytes() const override { return resolved_bytes(indices_); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* const indices = static_cast<std::int64_t*>(scratch);
    resolve_indices(indices_, inputs[1], size_, indices);
    if (inner_.count() == 0) return;
    const std::int64_t count = indices_.shape().elements();
    visit_word(dtype_, [&]<typename Word>() {
      const auto* const x = static_cast<const Word*>(inputs[0]);
      auto* const out = static_cast<Word*>(output);
      parallel_rows(outer_.count() * count, inner_.count(), [&](std::int64_t begin, std::int64_t end) {
        while (begin < end) {
          const std::int64_t first = begin % count;
          const std::int64_t last = std::min(count, first + end - begin);
          const Word* const slices = x + outer_.offsets_at(begin / count)[0];
          take_slices(slices, std::span(indices + first, indices + last), out + begin * inner_.count());
          begin += last - first;
        }
      });
    });
  }

 private:
  template <typename Word>
  void take_slices(const Word* slices, std::span<const std::int64_t> indices, Word* out) const {
    if (inner_.count() == 1) {
      for (std::int64_t index : indices) *out++ = slices[index * stride_];
      return;
    }
    for (std::int64_t index : indices) {
      copy_inner(slices + index * stride_, out);
      out += inner_.count();
    }
  }

  template <typename Word>
  void copy_inner(const Word* from, Word* to) const {
    const std::int64_t stride = inner_.run().strides[0];
    inner_.for_each_run(0, inner_.count(), [&](const Walk::Offsets& at, std::int64_t length) {
      if (stride == 1) {
        std::memcpy(to, from + at[0], static_cast<std::size_t>(length) * sizeof(Word));
      } else {
        for (std::int64_t i = 0; i < length; ++i) to[i] = from[at[0] + i * stride];
      }
      to += length;
    });
  }

  Slot indices_;
  DType dtype_;
  int axis_;
  Walk outer_;
  Walk inner_;
  std::int64_t size_;
  std::int64_t stride_;
};

/// out[p] = x[p with its coordinate along the axis replaced by indices[p]]
class TakeAlongAxisKernel final : public Kernel {
 public:
  explicit TakeAlongAxisKernel(const KernelRequest& request)
      : indices_(request.inputs[1]),
        dtype_(request.output.dtype),
        axis_(static_cast<std::size_t>(request.attrs.as<AxisAttrs>().axis)),
        size_(request.inputs[0].shape()[static_cast<int>(axis_)]),
        stride_(request.inputs[0].layout.strides[axis_]),
        walk_(request.output.shape(),
              {without_axis(request.inputs[0].layout.strides), request.output.layout.strides}) {}

  std::size_t scratch_bytes() const override { return resolved_bytes(indices_); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* const indices = static_cast<std::int64_t*>(scratch);
    resolve_indices(indices_, inputs[1], size_, indices);
    const std::int64_t step = walk_.run().strides[0];
    visit_word(dtype_, [&]<typename Word>() {
      const auto* const x = static_cast<const Word*>(inputs[0]);
      auto* const out = static_cast<Word*>(output);
      parallel_rows(walk_.count(), 1, [&](std::int64_t begin, std::int64_t end) {
        walk_.for_each_run(begin, end, [&](const StridedWalk<2>::Offsets& at, std::int64_t length) {
          for (std::int64_t i = 0; i < length; ++i)
            out[at[1] + i] = x[at[0] + i * step + indices[at[1] + i] * stride_];
        });
      });
    });
  }

 private:
  Strides without_axis(Strides strides) const {
    strides[axis_] = 0;
    return strides;
  }

  Slot indices_;
  DType dtype_;
  std::size_t axis_;
  std::int64_t size_;
  std::int64_t stride_;
  StridedWalk<2> walk_;
};

}  // namespace

std::unique_ptr<Kernel> prepare_take(const KernelRequest& request) {
  return std::make_unique<TakeKernel>(request);
}

std::unique_ptr<Kernel> prepare_take_along_axis(const KernelRequest& request) {
  return std::make_unique<TakeAlongAxisKernel>(request);
}

}  // namespace wick
