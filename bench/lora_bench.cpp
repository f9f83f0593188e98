// LoRA on 64 rows: the low-rank delta alone, the whole layer as one op, and the layer in plain ops, which
// the optimiser has to recognise. The floor of a layer is packed oneDNN products: x W and the two thin ones.
#include <benchmark/benchmark.h>

#include "floors.h"
#include "support.h"
#include "wick/memory.h"
#include "wick/ops.h"

namespace wick::bench {
namespace {

constexpr std::int64_t rows = 64;

struct Size {
  std::int64_t d;
  std::int64_t rank;
  DType dtype;

  std::string str() const {
    return std::string(name_of(dtype)) + "/d:" + std::to_string(d) + "/r:" + std::to_string(rank);
  }
  double thin_flops() const { return 4.0 * static_cast<double>(rows * d * rank); }
  double layer_flops() const { return thin_flops() + 2.0 * static_cast<double>(rows * d * d); }
};

struct Layer {
  explicit Layer(const Size& size)
      : x(random_data({rows, size.d}, size.dtype)),
        w(random_data({size.d, size.d}, size.dtype)),
        a(random_data({size.rank, size.d})),
        b(random_data({size.d, size.rank})) {
    mark_weight(w);
  }
  /// The factors are f32; next to x of a narrower dtype they are read as that, as in the decoder.
  Tensor delta() const {
    return matmul(matmul(x, transpose(cast(a, x.dtype()))), transpose(cast(b, x.dtype()))) * 2.0;
  }
  Tensor x, w, a, b;
};

/// The same with all matrices the other way: x W + s (x A) B.
struct Matrices {
  explicit Matrices(const Size& size)
      : x(random_data({rows, size.d}, size.dtype)),
        w(random_data({size.d, size.d}, size.dtype)),
        a(random_data({size.d, size.rank})),
        b(random_data({size.rank, size.d})) {
    mark_weight(w);
  }
  Tensor result() const {
    return matmul(x, w) + matmul(matmul(x, cast(a, x.dtype())), cast(b, x.dtype())) * 2.0;
  }
  Tensor x, w, a, b;
};

void add_size(const Size& size) {
  const Work thin{.flops = size.thin_flops(), .bytes = 0};
  const Work whole{.flops = size.layer_flops(), .bytes = 0};
  compare_modes(
      "lora_delta/" + size.str(), [=]() -> Record { return [layer = Layer(size)] { return layer.delta(); }; },
      thin);
  compare_modes(
      "lora_linear/" + size.str(),
      [=]() -> Record { return [l = Layer(size)] { return lora_linear(l.x, l.w, {}, l.a, l.b, 2.0); }; },
      whole);
  compare_modes(
      "lora_plain/" + size.str(),
      [=]() -> Record {
        return [layer = Layer(size)] { return matmul(layer.x, transpose(layer.w)) + layer.delta(); };
      },
      whole);
  if (size.rank == 8)
    compare_modes(
        "lora_matrices/" + size.str(),
        [=]() -> Record { return [layer = Matrices(size)] { return layer.result(); }; }, whole);
  add_benchmark("lora_linear/" + size.str() + "/floor", [=](benchmark::State& state) {
    PackedMatmul wide(rows, size.d, size.d, size.dtype);
    PackedMatmul down(rows, size.d, size.rank, size.dtype);
    PackedMatmul up(rows, size.rank, size.d, size.dtype);
    const auto run = [&] {
      wide.run();
      down.run();
      up.run();
    };
    run();
    for (auto _ : state) run();
    count_work(state, whole);
  });
}

[[maybe_unused]] const bool registered = [] {
  for (DType dtype : {DType::f32, DType::bf16})
    for (std::int64_t d : {512, 1024, 2048})
      for (std::int64_t rank : {4, 8, 16, 64}) add_size({d, rank, dtype});
  return true;
}();

}  // namespace
}  // namespace wick::bench
