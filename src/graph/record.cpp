#include "graph/record.h"

#include <fmt/format.h>

#include <new>
#include <utility>
#include <vector>

#include "graph/node.h"
#include "graph/scope_names.h"
#include "wick/error.h"

namespace wick {
namespace {

/// What the thread's recording depends on, together so that an op looks it up once.
struct Recording {
  const SourceLocation* location_override = nullptr;
  RecordHook hook = nullptr;
  std::uint32_t scope = 0;
};
thread_local constinit Recording recording;

template <typename E>
[[noreturn]] void rethrow_with_context(const E& error, const Op& op, InputSpecs specs, const Attrs& attrs,
                                       SourceLocation where) {
  throw E(fmt::format("{}: {}\n  in {}", op.name, error.what(), describe_call(op, specs, attrs, where)));
}

/// The specs of a node's inputs, without an allocation for the usual few.
class SpecList {
 public:
  explicit SpecList(std::size_t count) {
    if (count > few) many_.reserve(count);
  }
  void add(const Shape& shape, DType dtype) {
    if (many_.capacity() > 0)
      many_.push_back({shape, dtype});
    else
      new (&at(count_)) Spec{shape, dtype};
    ++count_;
  }
  operator InputSpecs() const {  // NOLINT: reads as the list it is
    return many_.capacity() > 0 ? InputSpecs(many_) : InputSpecs(&const_cast<SpecList*>(this)->at(0), count_);
  }

 private:
  static constexpr std::size_t few = 4;
  static_assert(std::is_trivially_destructible_v<Spec>);
  Spec& at(std::size_t i) noexcept { return *(reinterpret_cast<Spec*>(memory_) + i); }  // NOLINT

  alignas(Spec) std::byte memory_[few * sizeof(Spec)];  // NOLINT: filled by `add`, not before
  std::vector<Spec> many_;
  std::size_t count_ = 0;
};

template <typename Range>
Tensor record_inputs(const Op& op, const Range& inputs, const Attrs& attrs, SourceLocation where) {
  const Recording& state = recording;
  if (state.location_override)
    where = *state.location_override;
  else if (where.scope == 0)
    where.scope = state.scope;
  SpecList specs(inputs.size());
  Device device = cpu;
  for (const Tensor& input : inputs) {
    if (!input.defined())
      throw ArgumentError(fmt::format("{}: input {} is an empty tensor (recorded at {}:{})", op.name,
                                      InputSpecs(specs).size(), where.file, where.line));
    const Node& node = *input.node();
    specs.add(node.shape(), node.dtype());
    if (node.device() == cpu || node.device() == device) continue;
    if (!(device == cpu))
      throw DeviceError(
          fmt::format("{}: inputs are on {} and on {} (recorded at {}:{}); move one of them first", op.name,
                      device.str(), node.device().str(), where.file, where.line));
    device = node.device();
  }
  const auto infer = [&]() -> Spec {
    try {
      return op.infer(specs, attrs);
    } catch (const ShapeError& e) {
      rethrow_with_context(e, op, specs, attrs, where);
    } catch (const DTypeError& e) {
      rethrow_with_context(e, op, specs, attrs, where);
    } catch (const ArgumentError& e) {
      rethrow_with_context(e, op, specs, attrs, where);
    }
  };
  Tensor result(Node::make(&op, attrs, inputs, infer(), device, where));
  if (state.hook) state.hook(result);
  return result;
}

}  // namespace

RecordHook& record_hook() noexcept { return recording.hook; }

std::uint32_t& recording_scope() noexcept { return recording.scope; }

LocationScope::LocationScope(SourceLocation where) : previous_(recording.location_override), where_(where) {
  if (!previous_) recording.location_override = &where_;
}
LocationScope::~LocationScope() { recording.location_override = previous_; }

OwnLocationsScope::OwnLocationsScope() : previous_(std::exchange(recording.location_override, nullptr)) {}
OwnLocationsScope::~OwnLocationsScope() { recording.location_override = previous_; }

std::string describe_call(const Op& op, InputSpecs inputs, const Attrs& attrs, SourceLocation where) {
  std::string text(op.name);
  text += '(';
  for (std::size_t i = 0; i < inputs.size(); ++i)
    text += fmt::format("{}{}{}", i ? ", " : "", name_of(inputs[i].dtype), inputs[i].shape.str());
  if (op.describe) text += fmt::format("{}{}", inputs.empty() ? "" : "; ", op.describe(attrs));
  text += ')';
  if (where.line > 0) text += fmt::format(" recorded at {}:{}", where.file, where.line);
  return text;
}

Tensor record(const Op& op, Inputs inputs, const Attrs& attrs, SourceLocation where) {
  return record_inputs(op, inputs, attrs, where);
}

Tensor record(const Op& op, std::initializer_list<TensorRef> inputs, const Attrs& attrs,
              SourceLocation where) {
  return record_inputs(op, inputs, attrs, where);
}

}  // namespace wick
