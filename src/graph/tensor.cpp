#include "wick/tensor.h"

#include <fmt/format.h>

#include <cstring>

#include "core/allocate.h"
#include "graph/node.h"
#include "wick/error.h"

namespace wick {
namespace {

void check_byte_count(std::span<const std::byte> bytes, const Shape& shape, DType dtype) {
  const auto wanted = static_cast<std::size_t>(shape.elements()) * size_of(dtype);
  if (bytes.size() != wanted)
    throw ShapeError(fmt::format("{}{} needs {} elements ({} bytes), but {} bytes were given", name_of(dtype),
                                 shape.str(), shape.elements(), wanted, bytes.size()));
}

Tensor data_tensor(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype) {
  return Tensor(Node::make_data({std::move(storage), Layout::contiguous(shape), nullptr}, dtype, cpu));
}

}  // namespace

Tensor::Tensor(Node* node) noexcept : node_(node) {}
void Tensor::retain(const Node* node) noexcept { node->retain(); }
void Tensor::release(const Node* node) noexcept { node->release(); }

Node& Tensor::checked() const {
  if (!node_) throw ArgumentError("an empty tensor was used; assign it first");
  return *node_;
}

const Shape& Tensor::shape() const { return checked().shape(); }
DType Tensor::dtype() const { return checked().dtype(); }
Device Tensor::device() const { return checked().device(); }

bool Tensor::is_evaluated() const {
  const Value* value = checked().value();
  return value && value->ready();
}

std::string Tensor::str() const { return fmt::format("{}{}", name_of(dtype()), shape().str()); }

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype) {
  check_byte_count(bytes, shape, dtype);
  auto storage = allocate_host(bytes.size());
  if (!bytes.empty()) std::memcpy(storage->data(), bytes.data(), bytes.size());
  return data_tensor(std::move(storage), shape, dtype);
}

Tensor Tensor::view_of(std::span<const std::byte> bytes, const Shape& shape, DType dtype,
                       std::shared_ptr<const void> owner) {
  check_byte_count(bytes, shape, dtype);
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % size_of(dtype) != 0)
    return from_bytes(bytes, shape, dtype);
  return data_tensor(std::make_shared<Storage>(bytes.data(), bytes.size(), std::move(owner)), shape, dtype);
}

void Tensor::check_dtype(DType wanted) const {
  if (dtype() != wanted)
    throw DTypeError(fmt::format("the tensor is {}, but {} elements were asked for; cast it first", str(),
                                 name_of(wanted)));
}

void Tensor::check_single() const {
  if (elements() != 1)
    throw ShapeError(fmt::format("item() needs exactly one element, the tensor is {}", str()));
}

template <>
std::vector<bool> Tensor::to_vector<bool>() const {
  check_dtype(DType::bool_);
  std::vector<std::byte> raw(static_cast<std::size_t>(elements()));
  copy_bytes(raw);
  std::vector<bool> out(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) out[i] = raw[i] != std::byte{0};
  return out;
}

}  // namespace wick
