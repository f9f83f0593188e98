#include "optimize/simplify_rules.h"
#include "wick/ops/elementwise.h"

namespace wick {
namespace {

/// How many bits of an integer each dtype holds exactly, the sign aside.
int integer_bits(DType dtype) {
  switch (dtype) {
    case DType::bool_: return 1;
    case DType::u8: return 8;
    case DType::i32: return 31;
    case DType::i64: return 63;
    case DType::bf16: return 8;
    case DType::f16: return 11;
    case DType::f32: return 24;
    case DType::f64: return 53;
  }
  return 0;
}

/// Whether every value of `from` is one of `to`.
bool holds_all(DType to, DType from) {
  if (from == to) return true;
  if (is_floating(from)) return is_floating(to) && size_of(to) > size_of(from);
  if (from != DType::bool_ && to == DType::u8) return false;
  return to != DType::bool_ && integer_bits(to) >= integer_bits(from);
}

/// cast(cast(x, between), to) as one cast. From an integer through a wide float to a narrow one is left: how
/// a kernel rounds on the way is its own.
Tensor direct(const Tensor& x, DType between, DType to) {
  if (!holds_all(between, x.dtype())) return {};
  if (!is_floating(x.dtype()) && is_floating(to) && size_of(to) < 4 && to != x.dtype()) return {};
  return cast(x, to);
}

}  // namespace

std::vector<Rule> cast_rules() {
  const Pattern x;
  const Pattern inner = op("cast", x);
  return {
      {"casts of which the first loses nothing", op("cast", inner),
       [=](const Found& f) { return direct(f[x], f.node(inner).spec.dtype, f.root().spec.dtype); }},
  };
}

}  // namespace wick
