#include "io/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "io/json.h"
#include "io/printable.h"
#include "wick/error.h"

namespace wick {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is mapped as it stands: little-endian");

constexpr std::size_t length_bytes = 8;

struct ElementType {
  std::string_view name;
  DType dtype;
};

constexpr std::array<ElementType, dtype_count> element_types{{{"BOOL", DType::bool_},
                                                              {"U8", DType::u8},
                                                              {"I32", DType::i32},
                                                              {"I64", DType::i64},
                                                              {"F16", DType::f16},
                                                              {"BF16", DType::bf16},
                                                              {"F32", DType::f32},
                                                              {"F64", DType::f64}}};

std::string list_element_types() {
  std::string list;
  for (const ElementType& type : element_types)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", type.name);
  return list;
}

/// Takes the header's JSON, which has a fixed form, tensor by tensor:
/// {"__metadata__": {string: string}, name: {"dtype": string, "shape": [...], "data_offsets": [begin, end]},
/// ...}
class HeaderReader final : public JsonEvents {
 public:
  HeaderReader(std::string_view name, std::span<const std::byte> data,
               const std::shared_ptr<const void>& owner)
      : JsonEvents(name), data_(data), owner_(owner) {}

  SafetensorsContent take() { return std::move(content_); }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::start: return go(Place::file);
      case Place::file:
        if (key_ == safetensors_metadata_key) return go(Place::metadata);
        tensor_ = {};
        tensor_.name = key_;
        tensor_.owner = owner_;
        has_ = {};
        return go(Place::tensor);
      default: unexpected("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    return go(place_ == Place::file ? Place::start : Place::file);
  }

  bool key(std::string& key) override {
    key_ = std::move(key);
    if (place_ == Place::file && key_ == safetensors_metadata_key && std::exchange(has_metadata_, true)) {
      refuse("the header has '__metadata__' twice");
    }
    if (place_ == Place::metadata && content_.metadata.contains(key_)) {
      refuse(fmt::format("the metadata has '{}' twice", printable(key_)));
    }
    if (place_ == Place::tensor) note_field();
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      content_.metadata.emplace(key_, std::move(value));
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") unexpected("a string");
    set_dtype(value);
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") return begin_numbers(Place::shape);
    if (place_ == Place::tensor && key_ == "data_offsets") return begin_numbers(Place::offsets);
    unexpected("a list");
  }

  bool end_array() override {
    if (place_ == Place::shape) set_shape();
    if (place_ == Place::offsets && count_ != 2)
      refuse_tensor("has data_offsets that are not a [begin, end] pair");
    if (place_ == Place::offsets) offsets_ = {numbers_[0], numbers_[1]};
    return go(Place::tensor);
  }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected("a number");
    if (count_ == numbers_.size()) {
      refuse_tensor(fmt::format("has more than {} numbers in its {}", numbers_.size(), key_));
    }
    numbers_[count_++] = value;
    return true;
  }

  bool number_integer(std::int64_t) override { unexpected("a negative number"); }
  bool number_float(double, const std::string&) override {
    unexpected("a number that is not whole or too large");
  }
  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("true or false"); }

 private:
  enum class Place { start, file, metadata, tensor, shape, offsets };
  struct Fields {
    bool dtype = false;
    bool shape = false;
    bool offsets = false;
  };

  bool go(Place place) {
    place_ = place;
    return true;
  }

  bool begin_numbers(Place place) {
    count_ = 0;
    return go(place);
  }

  [[noreturn]] void refuse_tensor(const std::string& complaint) const {
    refuse(fmt::format("tensor '{}' {}", printable(tensor_.name), complaint));
  }

  [[noreturn]] void unexpected(std::string_view what) const {
    if (place_ == Place::start || place_ == Place::file)
      refuse(fmt::format("the header has {} out of place", what));
    if (place_ == Place::metadata) refuse(fmt::format("the metadata '{}' is not a string", printable(key_)));
    refuse_tensor(fmt::format("has {} out of place in its {}", what, printable(key_)));
  }

  void note_field() {
    bool* seen = key_ == "dtype"          ? &has_.dtype
                 : key_ == "shape"        ? &has_.shape
                 : key_ == "data_offsets" ? &has_.offsets
                                          : nullptr;
    if (!seen) refuse_tensor(fmt::format("has the unknown field '{}'", printable(key_)));
    if (std::exchange(*seen, true)) refuse_tensor(fmt::format("has its {} twice", key_));
  }

  void set_dtype(const std::string& type) {
    const auto found = std::find_if(element_types.begin(), element_types.end(),
                                    [&](const auto& t) { return t.name == type; });
    if (found == element_types.end()) {
      refuse_tensor(fmt::format("has elements of type '{}'; supported are {}: convert the file first",
                                printable(type), list_element_types()));
    }
    tensor_.dtype = found->dtype;
  }

  void set_shape() {
    std::array<std::int64_t, max_rank> dims{};
    for (std::size_t i = 0; i < count_; ++i) {
      if (numbers_[i] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        refuse_tensor(fmt::format("has a dimension of {}, which is too large", numbers_[i]));
      }
      dims[i] = static_cast<std::int64_t>(numbers_[i]);
    }
    try {
      tensor_.shape = Shape(std::span<const std::int64_t>(dims).first(count_));
    } catch (const ShapeError& error) {
      refuse_tensor(fmt::format("has an impossible shape: {}", error.what()));
    }
  }

  void finish_tensor() {
    if (!has_.dtype) refuse_tensor("has no dtype");
    if (!has_.shape) refuse_tensor("has no shape");
    if (!has_.offsets) refuse_tensor("has no data_offsets");
    const auto [begin, end] = offsets_;
    if (begin > end)
      refuse_tensor(fmt::format("has data that ends at {}, before it begins at {}", end, begin));
    if (end > data_.size()) {
      refuse_tensor(
          fmt::format("has data up to byte {}, but the file has only {} bytes of data: it is cut short", end,
                      data_.size()));
    }
    // Shapes have at most 2^62 elements, so this does not wrap.
    const auto elements = static_cast<std::uint64_t>(tensor_.shape.elements());
    const std::uint64_t element_size = size_of(tensor_.dtype);
    if ((end - begin) % element_size != 0 || (end - begin) / element_size != elements) {
      refuse_tensor(fmt::format("is {} {} and has {} bytes of data, which do not agree",
                                safetensors_name_of(tensor_.dtype), tensor_.shape.str(), end - begin));
    }
    tensor_.bytes = data_.subspan(begin, end - begin);
    if (tensor_.dtype == DType::bool_) check_booleans();
    content_.tensors.push_back(std::move(tensor_));
  }

  void check_booleans() const {
    const bool valid = std::all_of(tensor_.bytes.begin(), tensor_.bytes.end(),
                                   [](std::byte value) { return std::to_integer<int>(value) <= 1; });
    if (!valid) refuse_tensor("is BOOL and has a byte other than 0 and 1");
  }

  std::span<const std::byte> data_;
  std::shared_ptr<const void> owner_;
  SafetensorsContent content_;
  Place place_ = Place::start;
  std::string key_;
  bool has_metadata_ = false;
  TensorInfo tensor_;  // being read
  Fields has_;
  std::array<std::uint64_t, max_rank> numbers_{};
  std::size_t count_ = 0;
  std::pair<std::uint64_t, std::uint64_t> offsets_{};
};

/// The length of the header, known to lie within the file.
std::uint64_t header_length(std::span<const std::byte> file, std::string_view name) {
  if (file.size() < length_bytes) {
    throw FormatError(
        fmt::format("{}: has only {} bytes, too few for a safetensors file", name, file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  if (length > max_safetensors_header) {
    throw FormatError(
        fmt::format("{}: says that its header has {} bytes; at most {} are allowed: not a safetensors file?",
                    name, length, max_safetensors_header));
  }
  if (length > file.size() - length_bytes) {
    throw FormatError(
        fmt::format("{}: says that its header has {} bytes, but only {} follow: the file is cut short", name,
                    length, file.size() - length_bytes));
  }
  if (length == 0) throw FormatError(fmt::format("{}: has an empty header", name));
  return length;
}

/// The tensors must cover the data without holes and overlaps.
void check_coverage(const std::vector<TensorInfo>& tensors, std::span<const std::byte> data,
                    std::string_view name) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto begin_of = [&](std::size_t i) {
    return static_cast<std::size_t>(tensors[i].bytes.data() - data.data());
  };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(begin_of(a), tensors[a].bytes.size()) < std::pair(begin_of(b), tensors[b].bytes.size());
  });
  std::size_t end = 0;
  for (const std::size_t i : order) {
    const std::size_t begin = begin_of(i);
    if (begin != end) {
      throw FormatError(fmt::format(
          "{}: tensor '{}' begins at byte {} of the data, which {} the one before it, ending at {}", name,
          printable(tensors[i].name), begin, begin < end ? "overlaps" : "leaves a hole after", end));
    }
    end = begin + tensors[i].bytes.size();
  }
  if (end != data.size()) {
    throw FormatError(
        fmt::format("{}: has {} bytes after the data of its last tensor", name, data.size() - end));
  }
}

}  // namespace

SafetensorsContent parse_safetensors(std::span<const std::byte> file,
                                     const std::shared_ptr<const void>& owner, std::string_view name) {
  const std::uint64_t length = header_length(file, name);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + length_bytes, length);
  if (header.front() != '{')
    throw FormatError(fmt::format("{}: has a header that does not begin with '{{'", name));
  const auto data = file.subspan(length_bytes + length);

  HeaderReader reader(name, data, owner);
  reader.read(header);
  SafetensorsContent content = reader.take();
  check_coverage(content.tensors, data, name);
  sort_by_name(content.tensors, name);
  return content;
}

std::string_view safetensors_name_of(DType dtype) {
  return std::find_if(element_types.begin(), element_types.end(),
                      [=](const auto& t) { return t.dtype == dtype; })
      ->name;
}

void sort_by_name(std::vector<TensorInfo>& tensors, std::string_view name) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twin = std::adjacent_find(tensors.begin(), tensors.end(),
                                       [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twin != tensors.end()) {
    throw FormatError(fmt::format("{}: has tensor '{}' twice", name, printable(twin->name)));
  }
}

}  // namespace wick
