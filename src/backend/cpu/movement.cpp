#include <algorithm>
#include <array>
#include <vector>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/strided_copy.h"
#include "ops/attributes.h"

namespace wick {
namespace {

std::int64_t bytes_of(std::int64_t elements, DType dtype) {
  return elements * static_cast<std::int64_t>(size_of(dtype));
}

/// Elements that follow one another along `axis`, in a row-major tensor.
std::int64_t inner_elements(const Shape& shape, int axis) {
  return shape.slice(axis + 1, shape.rank()).elements();
}

std::byte* advanced(void* address, std::int64_t bytes) { return static_cast<std::byte*>(address) + bytes; }

class CopyKernel final : public Kernel {
 public:
  explicit CopyKernel(const KernelRequest& request)
      : copy_(request.output.shape(), request.output.dtype, request.inputs[0].layout.strides,
              request.output.layout.strides) {}
  void run(const void* const* inputs, void* output, void*) const override { copy_.run(inputs[0], output); }

 private:
  StridedCopy copy_;
};

class ConcatKernel final : public Kernel {
 public:
  explicit ConcatKernel(const KernelRequest& request) {
    const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
    const DType dtype = request.output.dtype;
    const std::int64_t step = bytes_of(inner_elements(request.output.shape(), axis), dtype);
    std::int64_t start = 0;
    for (const Slot& input : request.inputs) {
      parts_.push_back(
          {StridedCopy(input.shape(), dtype, input.layout.strides, request.output.layout.strides),
           start * step});
      start += input.shape()[axis];
    }
  }
  void run(const void* const* inputs, void* output, void*) const override {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      parts_[i].copy.run(inputs[i], advanced(output, parts_[i].output_bytes));
  }

 private:
  struct Part {
    StridedCopy copy;
    std::int64_t output_bytes;  // before it
  };
  std::vector<Part> parts_;
};

class PadKernel final : public Kernel {
 public:
  explicit PadKernel(const KernelRequest& request)
      : attrs_(request.attrs.as<PadAttrs>()),
        dtype_(request.output.dtype),
        interior_(request.inputs[0].shape(), dtype_, request.inputs[0].layout.strides,
                  request.output.layout.strides),
        border_(border_layout(request.output, attrs_.low)),
        end_border_(border_layout(request.output, attrs_.high)) {
    const auto axis = static_cast<int>(attrs_.axis);
    step_ = inner_elements(request.output.shape(), axis);
    size_ = request.inputs[0].shape()[axis];
    write_number(attrs_.value, dtype_, value_.data());
  }
  void run(const void* const* inputs, void* output, void*) const override {
    border_.run(value_.data(), output);
    interior_.run(inputs[0], advanced(output, bytes_of(attrs_.low * step_, dtype_)));
    end_border_.run(value_.data(), advanced(output, bytes_of((attrs_.low + size_) * step_, dtype_)));
  }

 private:
  /// One value, repeated over `count` positions along the axis.
  StridedCopy border_layout(const Slot& output, std::int64_t count) const {
    return {output.shape().with(static_cast<int>(attrs_.axis), count), dtype_, Strides{},
            output.layout.strides};
  }

  PadAttrs attrs_;
  DType dtype_;
  StridedCopy interior_;
  StridedCopy border_;
  StridedCopy end_border_;
  std::int64_t step_ = 0;  // elements of one position along the axis
  std::int64_t size_ = 0;  // of the input along the axis
  alignas(8) std::array<std::byte, 8> value_{};
};

class SliceUpdateKernel final : public Kernel {
 public:
  explicit SliceUpdateKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        start_type_(request.inputs[2].dtype),
        whole_(request.output.shape(), dtype_, request.inputs[0].layout.strides,
               request.output.layout.strides),
        window_(request.inputs[1].shape(), dtype_, request.inputs[1].layout.strides,
                request.output.layout.strides) {
    const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
    step_ = inner_elements(request.output.shape(), axis);
    last_start_ = request.output.shape()[axis] - request.inputs[1].shape()[axis];
    replaces_all_ = last_start_ == 0;
  }
  void run(const void* const* inputs, void* output, void*) const override {
    const std::int64_t start = std::clamp<std::int64_t>(read_start(inputs[2]), 0, last_start_);
    // The output may lie in x, or in an update of the whole x; where it does, that much is done.
    if (replaces_all_ && output == inputs[1]) return;
    if (output != inputs[0]) whole_.run(inputs[0], output);
    window_.run(inputs[1], advanced(output, bytes_of(start * step_, dtype_)));
  }

 private:
  std::int64_t read_start(const void* start) const {
    return start_type_ == DType::i32 ? *static_cast<const std::int32_t*>(start)
                                     : *static_cast<const std::int64_t*>(start);
  }

  DType dtype_;
  DType start_type_;
  StridedCopy whole_;
  StridedCopy window_;
  std::int64_t step_ = 0;
  std::int64_t last_start_ = 0;
  bool replaces_all_ = false;
};

template <typename Made>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<Made>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "copy", .prepare = prepare<CopyKernel>, .layouts = InputLayouts::strided},
    {.op = "concat", .prepare = prepare<ConcatKernel>, .layouts = InputLayouts::strided},
    {.op = "pad", .prepare = prepare<PadKernel>, .layouts = InputLayouts::strided},
    {.op = "slice_update",
     .prepare = prepare<SliceUpdateKernel>,
     .layouts = InputLayouts::strided,
     .in_place = true},
};

}  // namespace

cpu_kernels::Entries cpu_kernels::movement() { return entries; }

}  // namespace wick
