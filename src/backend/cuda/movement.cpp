#include <vector>

#include "backend/cuda/kernels.h"
#include "backend/cuda/strided_copy.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

/// Elements that follow one another along `axis`, in a row-major tensor.
std::int64_t inner_elements(const Shape& shape, int axis) {
  return shape.slice(axis + 1, shape.rank()).elements();
}

void* advanced(void* address, std::int64_t elements, DType dtype) {
  return static_cast<std::byte*>(address) + elements * static_cast<std::int64_t>(size_of(dtype));
}

class CopyKernel final : public Kernel {
 public:
  explicit CopyKernel(const KernelRequest& request)
      : copy_(request.output.shape(), request.output.dtype, request.inputs[0].layout.strides,
              request.output.layout.strides) {}
  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    copy_.launch(inputs[0], output);
  }

 private:
  StridedCopy copy_;
};

class ConcatKernel final : public Kernel {
 public:
  explicit ConcatKernel(const KernelRequest& request) : dtype_(request.output.dtype) {
    const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
    const std::int64_t step = inner_elements(request.output.shape(), axis);
    std::int64_t start = 0;
    for (const Slot& input : request.inputs) {
      parts_.push_back(
          {StridedCopy(input.shape(), dtype_, input.layout.strides, request.output.layout.strides),
           start * step});
      start += input.shape()[axis];
    }
  }
  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      parts_[i].copy.launch(inputs[i], advanced(output, parts_[i].before, dtype_));
  }

 private:
  struct Part {
    StridedCopy copy;
    std::int64_t before;  // elements of the output
  };
  DType dtype_;
  std::vector<Part> parts_;
};

class PadKernel final : public Kernel {
 public:
  explicit PadKernel(const KernelRequest& request)
      : attrs_(request.attrs.as<PadAttrs>()),
        dtype_(request.output.dtype),
        step_(inner_elements(request.output.shape(), static_cast<int>(attrs_.axis))),
        size_(request.inputs[0].shape()[static_cast<int>(attrs_.axis)]),
        interior_(request.inputs[0].shape(), dtype_, request.inputs[0].layout.strides,
                  request.output.layout.strides),
        before_(border(request.output, attrs_.low)),
        after_(border(request.output, attrs_.high)) {}
  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    before_.launch(output);
    interior_.launch(inputs[0], advanced(output, attrs_.low * step_, dtype_));
    after_.launch(advanced(output, (attrs_.low + size_) * step_, dtype_));
  }

 private:
  StridedFill border(const Slot& output, std::int64_t count) const {
    return {output.shape().with(static_cast<int>(attrs_.axis), count), dtype_, attrs_.value,
            output.layout.strides};
  }

  PadAttrs attrs_;
  DType dtype_;
  std::int64_t step_;  // elements of one position along the axis
  std::int64_t size_;  // of the input along the axis
  StridedCopy interior_;
  StridedFill before_;
  StridedFill after_;
};

/// An update of the whole of x is all that is copied. Otherwise the output may lie in x, but not in the
/// update, which is smaller.
class SliceUpdateKernel final : public Kernel {
 public:
  explicit SliceUpdateKernel(const KernelRequest& request)
      : whole_(request.output.shape(), request.output.dtype, request.inputs[0].layout.strides,
               request.output.layout.strides),
        window_(request.inputs[1].shape(), request.output.dtype, request.inputs[1].layout.strides,
                request.output.layout.strides),
        start_is_wide_(request.inputs[2].dtype == DType::i64) {
    const auto axis = static_cast<int>(request.attrs.as<AxisAttrs>().axis);
    step_ = inner_elements(request.output.shape(), axis);
    last_start_ = request.output.shape()[axis] - request.inputs[1].shape()[axis];
  }
  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (last_start_ == 0) {
      if (output != inputs[1]) window_.launch(inputs[1], output);
      return;
    }
    if (output != inputs[0]) whole_.launch(inputs[0], output);
    window_.launch(inputs[1], output, {inputs[2], start_is_wide_, last_start_, step_});
  }

 private:
  StridedCopy whole_;
  StridedCopy window_;
  bool start_is_wide_;
  std::int64_t step_ = 0;
  std::int64_t last_start_ = 0;
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

kernels::Entries kernels::movement() { return entries; }

}  // namespace wick::cuda
