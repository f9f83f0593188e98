#include "graph/record.h"

#include <fmt/format.h>

#include "core/small_vector.h"
#include "graph/node.h"
#include "wick/error.h"

namespace wick {
namespace {

thread_local const SourceLocation* location_override = nullptr;

SourceLocation effective(SourceLocation where) { return location_override ? *location_override : where; }

template <typename E>
[[noreturn]] void rethrow_with_context(const E& error, const Op& op, InputSpecs specs, const Attrs& attrs,
                                       SourceLocation where) {
  throw E(fmt::format("{}: {}\n  in {}", op.name, error.what(), describe_call(op, specs, attrs, where)));
}

}  // namespace

RecordHook& record_hook() noexcept {
  thread_local RecordHook hook = nullptr;
  return hook;
}

LocationScope::LocationScope(SourceLocation where) : previous_(location_override), where_(where) {
  if (!previous_) location_override = &where_;
}
LocationScope::~LocationScope() { location_override = previous_; }

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
  where = effective(where);
  constexpr std::size_t few = 4;
  std::array<Spec, few> specs_inline;
  std::vector<Spec> specs_heap;
  std::span<Spec> specs(specs_inline.data(), std::min(inputs.size(), few));
  if (inputs.size() > few) {
    specs_heap.resize(inputs.size());
    specs = specs_heap;
  }
  Device device = cpu;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined())
      throw ArgumentError(fmt::format("{}: input {} is an empty tensor (recorded at {}:{})", op.name, i,
                                      where.file, where.line));
    const Node& node = *inputs[i].node();
    specs[i] = {node.shape(), node.dtype()};
    if (i == 0)
      device = node.device();
    else if (!(node.device() == device))
      throw DeviceError(
          fmt::format("{}: inputs are on {} and on {} (recorded at {}:{}); move one of them first", op.name,
                      device.str(), node.device().str(), where.file, where.line));
  }
  Spec output;
  try {
    output = op.infer(specs, attrs);
  } catch (const ShapeError& e) {
    rethrow_with_context(e, op, specs, attrs, where);
  } catch (const DTypeError& e) {
    rethrow_with_context(e, op, specs, attrs, where);
  } catch (const ArgumentError& e) {
    rethrow_with_context(e, op, specs, attrs, where);
  }
  Tensor result(Node::make(&op, attrs, inputs, output, device, where));
  if (RecordHook hook = record_hook()) hook(result);
  return result;
}

}  // namespace wick
