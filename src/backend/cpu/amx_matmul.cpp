#include "backend/cpu/amx_matmul.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <utility>

#include "backend/cpu/amx_panels.h"
#include "backend/cpu/parallel.h"

namespace wick {
namespace {

// Measured with 48 KB and 2 MB of first- and second-level cache.
constexpr std::int64_t most_chunk = 320;
constexpr std::int64_t most_group = 1280;
constexpr std::int64_t most_rows = 512;        // of a block: a panel of b is read once for all of them
constexpr std::int64_t most_of_a = 480 << 10;  // elements of a block's rows in a group
constexpr std::int64_t most_panels = 16;       // of a block, where sums wait for the next group

/// Rows of a that lie a multiple of so many bytes apart share few sets of a cache: they are copied.
constexpr std::int64_t aliasing_bytes = 4096;

/// What pays: sums over fewer products are mostly writing. An unpacked b takes time to bring into pairs; of
/// one that lies row by row, a panel's rows are too far apart.
constexpr std::int64_t shortest_k = 256;
constexpr std::int64_t fewest_rows = 128;
constexpr std::int64_t fewest_columns = 128;
/// Worth waking a thread.
constexpr double flops_a_thread = 2e7;

constexpr std::int64_t line = 64;  // bytes of a cache
constexpr auto element = static_cast<std::int64_t>(sizeof(bfloat16));

std::int64_t parts_of(std::int64_t count, std::int64_t most) { return (count + most - 1) / most; }
/// For a product of so many whole tiles.
std::int64_t threads_for(std::int64_t m, std::int64_t panels, std::int64_t k) {
  const double flops = 2.0 * static_cast<double>(m * k) * static_cast<double>(panels * amx_step);
  return static_cast<std::int64_t>(
      std::clamp(flops / flops_a_thread, 1.0, static_cast<double>(omp_get_max_threads())));
}
/// The size of equal parts of whole tiles, each at most `most`.
std::int64_t even_part(std::int64_t count, std::int64_t most) {
  return amx_padded(parts_of(count, parts_of(count, most)));
}

}  // namespace

std::unique_ptr<const MatrixProduct> AmxMatmul::make(const MatmulProblem& problem, DType dtype,
                                                     const ProductOptions& options) {
  const bool fits = dtype == DType::bf16 && problem.batch.empty() && problem.a.column == 1 &&
                    (!options.bias || options.bias == DType::f32) && problem.n > 0 &&
                    (options.activation == Activation::none || (options.scale == 1 && !options.accumulate));
  const bool pays_unpacked = problem.m >= fewest_rows && problem.n >= fewest_columns && problem.b.column != 1;
  const bool pays = problem.k >= shortest_k && (options.packed || pays_unpacked);
  if (!fits || !pays || !AmxTiles::available()) return nullptr;
  return std::unique_ptr<const MatrixProduct>(new AmxMatmul(problem, options));
}

AmxMatmul::AmxMatmul(const MatmulProblem& problem, const ProductOptions& options)
    : problem_(problem),
      options_(options),
      finish_{.scale = options.scale,
              .accumulate = options.accumulate,
              .c = options.c.value_or(DType::bf16),
              .combination = options.combination},
      activation_(options.activation == Activation::none
                      ? nullptr
                      : find_tile(name_of(options.activation), DType::f32)),
      c_row_(options.c_row_stride > 0 ? options.c_row_stride : problem.n),
      c_element_(static_cast<std::int64_t>(size_of(finish_.c))),
      m_(amx_padded(problem.m)),
      k_(amx_padded(problem.k)),
      panels_(amx_padded(problem.n) / amx_step),
      chunk_(even_part(k_, most_chunk)),
      group_(most_group / chunk_ * chunk_),
      block_(even_part(m_, std::min(most_rows, most_of_a / std::min(k_, group_)))),
      reads_a_in_place_(m_ == problem.m && k_ == problem.k && problem.a.row * element % aliasing_bytes != 0),
      threads_(threads_for(m_, panels_, k_)) {}

std::int64_t AmxMatmul::sum_floats() const {
  const std::int64_t panels = k_ > group_ ? std::min(panels_, most_panels) : 1;
  return panels * block_ * amx_step;
}

std::size_t AmxMatmul::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(copied_floats() + threads_ * thread_floats()) * sizeof(float);
}

void AmxMatmul::run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                             void* scratch) const {
  auto* floats = static_cast<float*>(scratch);
  Call call{};
  call.a = static_cast<const bfloat16*>(a);
  call.b = static_cast<const bfloat16*>(b);
  call.bias = static_cast<const float*>(bias);
  call.combined = static_cast<const std::byte*>(combined);
  call.c = c;
  if (!reads_a_in_place_) {
    auto* copy = reinterpret_cast<bfloat16*>(floats);
    copy_a(call.a, copy);
    call.a = copy;
  }
  floats += copied_floats();
  parallel_for(threads_, 1, [&](std::int64_t first, std::int64_t last) {
    const AmxTiles tiles;
    for (std::int64_t thread = first; thread < last; ++thread) {
      Call own = call;
      own.tiles = &tiles;
      own.sums = floats + thread * thread_floats();
      own.panel = reinterpret_cast<bfloat16*>(own.sums + sum_floats());
      run_parts(own, thread);
    }
  });
}

/// Chunk by chunk, the rows of each one behind the other, filled up with zeros.
void AmxMatmul::copy_a(const bfloat16* a, bfloat16* to) const {
  parallel_for(m_, std::max<std::int64_t>(1, threads_ > 1 ? 32768 / k_ : m_),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t first = 0; first < k_; first += chunk_) {
                   const std::int64_t depth = chunk_at(first);
                   const std::int64_t there = std::clamp<std::int64_t>(problem_.k - first, 0, depth);
                   for (std::int64_t i = begin; i < end; ++i) {
                     bfloat16* row = to + first * m_ + i * depth;
                     const std::int64_t copied = i < problem_.m ? there : 0;
                     std::copy_n(a + i * problem_.a.row + first, copied, row);
                     std::fill(row + copied, row + depth, bfloat16{});
                   }
                 }
               });
}

/// A thread's share: panels, or where there are too few of them, panels and rows.
void AmxMatmul::run_parts(const Call& call, std::int64_t thread) const {
  const std::int64_t row_tiles = m_ / amx_step;
  const std::int64_t splits = panels_ >= threads_ ? 1 : std::min(row_tiles, parts_of(threads_, panels_));
  const std::int64_t units = panels_ * splits;
  const Range own{units * thread / threads_, units * (thread + 1) / threads_};
  if (splits == 1) return run_block(call, own, {0, m_});
  for (std::int64_t unit = own.begin; unit < own.end; ++unit) {
    const std::int64_t panel = unit / splits;
    const std::int64_t split = unit % splits;
    run_block(call, {panel, panel + 1},
              {row_tiles * split / splits * amx_step, row_tiles * (split + 1) / splits * amx_step});
  }
}

void AmxMatmul::run_block(const Call& call, Range panels, Range rows) const {
  const bool whole_k = k_ <= group_;
  const std::int64_t panel_step = whole_k ? panels.size() : most_panels;
  for (std::int64_t row = rows.begin; row < rows.end; row += block_) {
    const Range block{row, std::min(row + block_, rows.end)};
    for (std::int64_t at = panels.begin; at < panels.end; at += panel_step)
      for (std::int64_t first = 0; first < k_; first += group_)
        for (std::int64_t panel = at; panel < std::min(at + panel_step, panels.end); ++panel) {
          float* sums = call.sums + (whole_k ? 0 : (panel - at) * block.size() * amx_step);
          const Range group{first, std::min(first + group_, k_)};
          add_panel(call, panel, group, block, sums);
          if (group.end < k_) continue;
          finish(call, panel, block, sums);
        }
  }
}

void AmxMatmul::finish(const Call& call, std::int64_t panel, Range rows, float* sums) const {
  const std::int64_t column = panel * amx_step;
  const std::int64_t count = std::min(rows.end, problem_.m) - rows.begin;
  const std::int64_t columns = std::min(amx_step, problem_.n - column);
  const float* bias = call.bias ? call.bias + column : nullptr;
  if (activation_) activate(std::exchange(bias, nullptr), count, columns, sums);
  amx_finish(finish_, sums, bias, call.combined ? call.combined + c_offset(panel, rows.begin) : nullptr,
             c_at(call, panel, rows.begin), c_row_, count, columns);
}

void AmxMatmul::activate(const float* bias, std::int64_t rows, std::int64_t columns, float* sums) const {
  if (bias)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) sums[i * amx_step + j] += bias[j];
  activation_(sums, sums, sums, sums, static_cast<std::size_t>(rows * amx_step));
}

/// Adds to, or for the first group sets, the sums of some rows of a panel.
void AmxMatmul::add_panel(const Call& call, std::int64_t panel, Range group, Range rows, float* sums) const {
  for (std::int64_t first = group.begin; first < group.end; first += chunk_) {
    const std::int64_t depth = chunk_at(first);
    const bfloat16* pairs = call.panel;
    if (options_.packed)
      pairs = call.b + packed_at(panel, first);
    else
      pack_chunk(call.b, panel, first, call.panel);
    const std::int64_t a_row = reads_a_in_place_ ? problem_.a.row : depth;
    const bfloat16* a =
        call.a + (reads_a_in_place_ ? rows.begin * a_row + first : first * m_ + rows.begin * a_row);
    call.tiles->run({.m = rows.size(),
                     .n = amx_step,
                     .k = depth,
                     .a_row = a_row,
                     .b_row = 2 * amx_step,
                     .c_row = amx_step,
                     .accumulate = first > 0,
                     .next = next_of_b(call, panel, first),
                     .then = first + chunk_ < k_ ? AmxPrefetch{} : lines_of_c(call, panel, rows)},
                    a, pairs, sums);
  }
}

/// What follows a chunk of a packed panel.
AmxPrefetch AmxMatmul::next_of_b(const Call& call, std::int64_t panel, std::int64_t first) const {
  const std::int64_t depth = chunk_at(first);
  return options_.packed ? AmxPrefetch{call.b + packed_at(panel, first + depth), line, depth} : AmxPrefetch{};
}

/// The first line of each row that a panel's sums are written to; the other one comes along with it.
AmxPrefetch AmxMatmul::lines_of_c(const Call& call, std::int64_t panel, Range rows) const {
  const std::int64_t there = std::min(rows.end, problem_.m) - rows.begin;
  return {c_at(call, panel, rows.begin), c_row_ * c_element_, there};
}

void AmxMatmul::pack_chunk(const bfloat16* b, std::int64_t panel, std::int64_t first, bfloat16* to) const {
  const std::int64_t depth = chunk_at(first);
  const std::int64_t column = panel * amx_step;
  const std::int64_t rows = std::clamp<std::int64_t>(problem_.k - first, 0, depth);
  const std::int64_t columns = std::min(amx_step, problem_.n - column);
  const MatrixStrides& at = problem_.b;
  const bfloat16* from = b + first * at.row + column * at.column;
  if (at.column == 1)
    amx_pair_rows(from, at.row, rows, columns, depth, to);
  else
    amx_pair_columns(from, at.column, rows, columns, depth, to);
}

std::size_t AmxMatmul::packed_bytes() const noexcept {
  return static_cast<std::size_t>(packed_at(panels_, 0)) * sizeof(bfloat16);
}

std::string AmxMatmul::format() const {
  return fmt::format("amx pairs {} {} {} {}", problem_.k, problem_.n, problem_.b.row, problem_.b.column);
}

void AmxMatmul::pack(const void* b, void* packed) const {
  parallel_for(panels_, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      for (std::int64_t first = 0; first < k_; first += chunk_)
        pack_chunk(static_cast<const bfloat16*>(b), panel, first,
                   static_cast<bfloat16*>(packed) + packed_at(panel, first));
  });
}

std::unique_ptr<const AmxSiblings> AmxSiblings::make(std::span<const MatrixProduct* const> products) {
  std::vector<const AmxMatmul*> all;
  for (const MatrixProduct* product : products) {
    const auto* one = dynamic_cast<const AmxMatmul*>(product);
    if (!one) return nullptr;
    all.push_back(one);
  }
  return std::unique_ptr<const AmxSiblings>(new AmxSiblings(std::move(all)));
}

AmxSiblings::AmxSiblings(std::vector<const AmxMatmul*> products) : products_(std::move(products)) {
  for (const AmxMatmul* product : products_) {
    panels_ += product->panels_;
    sum_floats_ = std::max(sum_floats_, product->sum_floats());
    thread_floats_ = std::max(thread_floats_, product->thread_floats());
  }
  threads_ = std::min(threads_for(products_[0]->m_, panels_, products_[0]->k_), panels_);
}

std::size_t AmxSiblings::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(products_[0]->copied_floats() + threads_ * thread_floats_) * sizeof(float);
}

void AmxSiblings::run(const void* a, std::span<const Operands> operands, void* scratch) const {
  auto* floats = static_cast<float*>(scratch);
  const AmxMatmul& first = *products_[0];
  const auto* rows = static_cast<const bfloat16*>(a);
  if (!first.reads_a_in_place_) {
    auto* copy = reinterpret_cast<bfloat16*>(floats);
    first.copy_a(rows, copy);
    rows = copy;
  }
  floats += first.copied_floats();
  parallel_for(threads_, 1, [&](std::int64_t begin, std::int64_t end) {
    const AmxTiles tiles;
    for (std::int64_t thread = begin; thread < end; ++thread) {
      const AmxMatmul::Range own{panels_ * thread / threads_, panels_ * (thread + 1) / threads_};
      std::int64_t at = 0;  // the first panel of a product among those of all
      for (std::size_t i = 0; i < products_.size(); ++i) {
        const AmxMatmul& product = *products_[i];
        const AmxMatmul::Range panels{std::max(own.begin - at, std::int64_t{0}),
                                      std::min(own.end - at, product.panels_)};
        at += product.panels_;
        if (panels.begin >= panels.end) continue;
        AmxMatmul::Call call{};
        call.tiles = &tiles;
        call.a = rows;
        call.b = static_cast<const bfloat16*>(operands[i].b);
        call.bias = operands[i].bias;
        call.c = operands[i].c;
        call.sums = floats + thread * thread_floats_;
        call.panel = reinterpret_cast<bfloat16*>(call.sums + sum_floats_);
        product.run_block(call, panels, {0, product.m_});
      }
    }
  });
}

}  // namespace wick
