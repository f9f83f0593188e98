#include <fmt/format.h>
#include <fmt/ranges.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

std::span<const std::int64_t> target_dims(const ShapeAttrs& attrs) {
  return {attrs.dims.data(), static_cast<std::size_t>(attrs.rank)};
}

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto target = attrs.as<ShapeAttrs>();
  const Spec& x = inputs[0];
  for (std::int64_t d : target_dims(target))
    if (d < 0)
      throw ShapeError(fmt::format(
          "{} does not fit into [{}]; at most one size may be -1, and the others must divide the {} "
          "elements",
          x.shape.str(), fmt::join(target_dims(target), ", "), x.shape.elements()));
  const Shape shape = target.shape();
  if (shape.elements() != x.shape.elements())
    throw ShapeError(fmt::format("{} with {} elements does not fit into {} with {}", x.shape.str(),
                                 x.shape.elements(), shape.str(), shape.elements()));
  return {shape, x.dtype};
}

/// Groups of dimensions of equal product correspond; within a group the input must be without gaps.
std::optional<Layout> view(const Layout& input, const Spec& output, const Attrs&) {
  Layout result{output.shape, contiguous_strides(output.shape), input.offset};
  if (input.is_contiguous() || output.shape.elements() == 0) return result;
  std::array<std::int64_t, max_rank> sizes{};
  std::array<std::int64_t, max_rank> strides{};
  std::size_t rank = 0;
  for (int d = 0; d < input.shape.rank(); ++d) {
    if (input.shape[d] == 1) continue;
    sizes[rank] = input.shape[d];
    strides[rank++] = input.strides[static_cast<std::size_t>(d)];
  }
  const auto size_of_result = [&](std::size_t d) { return output.shape[static_cast<int>(d)]; };
  const auto result_rank = static_cast<std::size_t>(output.shape.rank());
  std::size_t to = 0;
  for (std::size_t from = 0; from < rank;) {
    std::size_t from_end = from + 1;
    std::size_t to_end = to + 1;
    std::int64_t from_count = sizes[from];
    std::int64_t to_count = size_of_result(to);
    while (from_count != to_count) {
      if (from_count < to_count)
        from_count *= sizes[from_end++];
      else
        to_count *= size_of_result(to_end++);
    }
    for (std::size_t d = from; d + 1 < from_end; ++d)
      if (strides[d] != sizes[d + 1] * strides[d + 1]) return std::nullopt;
    std::int64_t stride = strides[from_end - 1];
    for (std::size_t d = to_end; d-- > to;) {
      result.strides[d] = stride;
      stride *= size_of_result(d);
    }
    from = from_end;
    to = to_end;
  }
  for (; to < result_rank; ++to) result.strides[to] = 1;  // sizes of 1 are left
  return result;
}

const Op reshape_op{
    .name = "reshape",
    .infer = infer,
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      return {reshape(args.grad, args.inputs[0].shape())};
    },
    .view = view,
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("to [{}]", fmt::join(target_dims(attrs.as<ShapeAttrs>()), ", "));
    },
};

/// Replaces a single -1 by the size that makes the counts equal, where there is one.
void complete(ShapeAttrs& attrs, std::int64_t elements) {
  std::int64_t* missing = nullptr;
  std::int64_t known = 1;
  for (std::int32_t i = 0; i < attrs.rank; ++i) {
    std::int64_t& d = attrs.dims[static_cast<std::size_t>(i)];
    if (d == -1 && !missing) {
      missing = &d;
    } else if (d <= 0 || d > elements || known > elements / d) {
      return;  // the rule reports what is wrong
    } else {
      known *= d;
    }
  }
  if (missing && elements % known == 0) *missing = elements / known;
}

}  // namespace

Tensor reshape(const Tensor& x, const std::vector<std::int64_t>& dims, SourceLocation where) {
  if (dims.size() > max_rank)
    refuse<ShapeError>(
        "reshape", x, fmt::format("a shape has at most {} dimensions, not {}", max_rank, dims.size()), where);
  ShapeAttrs attrs{};
  attrs.rank = static_cast<std::int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), attrs.dims.begin());
  if (x.defined()) {
    complete(attrs, x.elements());
    if (std::ranges::equal(target_dims(attrs), x.shape().dims())) return x;
  }
  return record(reshape_op, {x}, attrs, where);
}

Tensor reshape(const Tensor& x, const Shape& shape, SourceLocation where) {
  if (x.defined() && x.shape() == shape) return x;
  return record(reshape_op, {x}, ShapeAttrs::of(shape, DType{}), where);
}

Tensor expand_dims(const Tensor& x, int axis, SourceLocation where) {
  const int result_rank = x.rank() + 1;
  if (axis < -result_rank || axis >= result_rank)
    refuse<ShapeError>(
        "expand_dims", x,
        fmt::format("axis {} is out of range for a result of {} dimensions", axis, result_rank), where);
  if (result_rank > max_rank)
    refuse<ShapeError>("expand_dims", x, fmt::format("a shape has at most {} dimensions", max_rank), where);
  return reshape(x, x.shape().inserted(axis < 0 ? axis + result_rank : axis, 1), where);
}

Tensor squeeze(const Tensor& x, int axis, SourceLocation where) {
  if (axis < -x.rank() || axis >= x.rank())
    refuse<ShapeError>("squeeze", x, fmt::format("axis {} is out of range", axis), where);
  if (x.dim(axis) != 1)
    refuse<ShapeError>("squeeze", x, fmt::format("axis {} has size {}, not 1", axis, x.dim(axis)), where);
  return reshape(x, x.shape().without(axis), where);
}

}  // namespace wick
