#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/amx.h"
#include "core/layout.h"
#include "wick/dtype.h"

namespace wick {

/// Distances in elements along [batch, head, position, d].
using AttentionSteps = std::array<std::int64_t, 4>;

/// Everything about an attention but the addresses; made once. Positions and tiles are those of
/// `attention.cpp`.
struct AttentionShape {
  DType dtype;
  std::int64_t batch;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t m;
  std::int64_t n;
  std::int64_t d;
  float scale;
  bool causal;
  std::int64_t window;  ///< 0: none
  AttentionSteps q;
  AttentionSteps k;
  AttentionSteps v;
  AttentionSteps out;  ///< d lies together
  bool has_mask;
  DType mask_dtype;
  AttentionSteps mask;  ///< along [batch, head, query, key]; 0 where it is broadcast
  bool amx;             ///< multiplies bf16 tiles

  std::int64_t group() const { return heads / kv_heads; }
  /// Rows of d elements, rounded up to whole vectors on every target, or to tiles.
  std::int64_t padded_d() const { return amx ? amx_padded(d) : (d + 15) / 16 * 16; }
};

struct AttentionData {
  const void* q;
  const void* k;
  const void* v;
  const void* mask;
  std::int64_t offset;  ///< position of query 0
  void* out;
  // With AMX, of every key head (see AttentionBlocks):
  const bfloat16* key_rows;
  const bfloat16* key_columns;    // for the gradient
  const bfloat16* value_rows;     // for the gradient
  const bfloat16* value_columns;  // for the output
};

/// Queries of one key head that are worked on together: rows [begin, end) of the list that holds, for each of
/// `heads` query heads from `head` on, its m queries.
struct AttentionTile {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t begin;
  std::int64_t end;
};

/// Most rows of a tile, and keys that are looked at together.
inline constexpr std::int64_t attention_tile_rows = 64;
inline constexpr std::int64_t attention_tile_keys = 64;
/// Up to so many rows, dot products along d are faster than vectors of queries.
inline constexpr std::int64_t attention_few_rows = 8;

/// Keys [begin, end) that the query at `position` may see.
struct KeyRange {
  std::int64_t begin;
  std::int64_t end;
};
inline KeyRange visible_keys(const AttentionShape& shape, std::int64_t position) {
  const std::int64_t begin = shape.window > 0 ? std::max<std::int64_t>(0, position - shape.window + 1) : 0;
  const std::int64_t end = shape.causal ? std::min(shape.n, position + 1) : shape.n;
  return {std::min(begin, shape.n), std::max(end, std::min(begin, shape.n))};
}

/// Where row `row` of a tile's list lies.
struct AttentionRow {
  AttentionRow(const AttentionShape& shape, const AttentionTile& tile, std::int64_t row)
      : batch(tile.batch), head(tile.head + row / shape.m), query(row % shape.m) {}
  std::int64_t offset(const AttentionSteps& steps) const {
    return batch * steps[0] + head * steps[1] + query * steps[2];
  }
  std::int64_t batch;
  std::int64_t head;
  std::int64_t query;
};

/// Keys that the rows of a tile see: each of them, any and all of them.
struct VisibleKeys {
  VisibleKeys(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile);
  KeyRange rows[attention_tile_rows];
  KeyRange any;     ///< begins at a multiple of `attention_tile_keys`
  KeyRange common;  ///< of rows that there are
};

/// Keys or values in bf16 as AMX reads them: of each key head of each batch, blocks of `attention_tile_keys`
/// keys; zeros where there is no key or no element.
struct AttentionBlocks {
  explicit AttentionBlocks(const AttentionShape& shape)
      : a_head((shape.n + attention_tile_keys - 1) / attention_tile_keys),
        heads(shape.batch * shape.kv_heads),
        elements(attention_tile_keys * shape.padded_d()) {}
  std::int64_t a_head;
  std::int64_t heads;
  std::int64_t elements;  ///< of a block
  std::int64_t all_elements() const { return heads * a_head * elements; }
  /// Where the block of `key` begins.
  std::int64_t at(std::int64_t batch_and_head, std::int64_t key) const {
    return (batch_and_head * a_head + key / attention_tile_keys) * elements;
  }
};
/// Writes blocks of the keys that some query sees: rows [key, padded d], columns [padded d, key], or both.
void write_attention_blocks(const AttentionShape& shape, std::int64_t offset, const void* from,
                            const AttentionSteps& steps, bfloat16* rows, bfloat16* columns);

/// Scratch memory of floats, given out in parts.
class FloatParts {
 public:
  explicit FloatParts(float* at) : at_(at) {}
  float* floats(std::int64_t count) {
    float* part = at_;
    at_ += count;
    return part;
  }
  /// Of an even number.
  bfloat16* halves(std::int64_t count) { return reinterpret_cast<bfloat16*>(floats(count / 2)); }

 private:
  float* at_;
};

/// Floats of scratch memory that a tile needs.
std::size_t attention_scratch_floats(const AttentionShape& shape);

/// Computes the output of one tile, on the calling thread (softmax with a running maximum and sum over tiles
/// of keys: Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867; Dao et al. 2022,
/// https://arxiv.org/abs/2205.14135).
void run_attention_tile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                        float* scratch);
/// The same for at most `attention_few_rows` rows; d must have stride 1 in k and v.
void run_attention_rows(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                        float* scratch);

/// Of a result [batch, heads, length, d] whose heads lie side by side: [batch, length, heads, d] row by row.
inline AttentionSteps side_by_side(std::int64_t heads, std::int64_t length, std::int64_t d) {
  return {length * heads * d, d, heads * d, 1};
}

/// What the gradient needs beside the forward pass: the output, its gradient, and where the gradient of q
/// goes (heads side by side).
struct AttentionGradientData {
  AttentionData forward;
  const void* out;
  const void* grad;
  AttentionSteps out_steps;
  AttentionSteps grad_steps;
  void* q_gradient;
};

/// Floats that sum the gradients of one head's keys [n, padded d], or of its values. With AMX there is room
/// for whole blocks.
inline std::int64_t attention_sums(const AttentionShape& shape) {
  return (shape.amx ? amx_padded(shape.n) : shape.n) * shape.padded_d();
}
std::size_t attention_gradient_scratch_floats(const AttentionShape& shape);

/// Writes the gradients of one tile's queries, and adds its part to those of its keys and values, on the
/// calling thread. The softmax is computed again, tile by tile, in place of being kept (Dao et al. 2022).
void add_attention_gradient(const AttentionShape& shape, const AttentionGradientData& data,
                            const AttentionTile& tile, float* key_sums, float* scratch);
/// Sums rows [begin, end) of `parts` sums of keys and then values, one part behind the other, into those rows
/// of k's and v's gradients of one head, of which the first key's are given; heads lie side by side.
void write_key_gradients(const AttentionShape& shape, const float* key_sums, std::int64_t parts,
                         std::int64_t begin, std::int64_t end, void* k_gradient, void* v_gradient);

/// Writes -inf over masked scores, or adds a floating mask: scores[i * row_step + j * key_step] belongs to
/// row tile.begin + i and key first_key + j.
void apply_attention_mask(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                          std::int64_t first_key, std::int64_t keys, float* scores, std::int64_t row_step,
                          std::int64_t key_step);

}  // namespace wick
