#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wick/dataset.h"

namespace wick {

/// What one forward pass takes; every vector is [rows, length], row-major.
struct Batch {
  std::int64_t rows = 0;
  std::int64_t length = 0;
  std::vector<std::int32_t> input_ids;
  std::vector<std::int32_t> positions;  ///< from 0 in every segment; 0 in padding
  std::vector<std::int32_t> segments;   ///< 1, 2, ...: the document within the row; 0: padding
  std::vector<std::int32_t> labels;     ///< not shifted; ignored_label where nothing is learned
  std::int64_t target_tokens = 0;       ///< entries of shifted_labels that are not ignored
};

/// Rows of one document each, without padding; every token is 0.
Batch full_batch(std::int64_t rows, std::int64_t length);

/// The token to be predicted at each place: the next one of the same segment where it is learned, else
/// ignored_label.
std::vector<std::int32_t> shifted_labels(const Batch& batch);

struct BatchOptions {
  std::int64_t batch_size = 8;
  std::int64_t seq_len = 512;  ///< most tokens in a row of a batch; at least 2
  std::uint64_t seed = 0;
  bool shuffle = true;
  /// Put several documents in a row, each a segment of its own.
  bool packing = false;
};

/// Where an iteration stands; with the same data and options it says everything.
struct BatchPosition {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;  ///< from 0
  std::int64_t index = 0;  ///< batches of the epoch already taken

  friend bool operator==(const BatchPosition&, const BatchPosition&) = default;
};

/// What became of the dataset's rows.
struct BatchCounts {
  std::int64_t split_rows = 0;  ///< cut into pieces of seq_len, which overlap by the one token that is input
                                ///< of the later piece and target of the earlier one
  std::int64_t truncated_rows = 0;  ///< cut after seq_len tokens
  std::int64_t lost_tokens = 0;     ///< by truncation
  std::int64_t skipped_rows = 0;    ///< without a target within seq_len tokens
};

/// Endless sequence of batches over a dataset, epoch after epoch, the same on every machine.
///
/// Shuffled, each epoch has an order of its own; rows of similar length share a batch, because sorting
/// happens within windows of the shuffled order; then the order of the batches is shuffled. Not shuffled,
/// rows come in the order of the dataset. Batches are padded on the right, to the longest row rounded up to a
/// multiple of 32, beyond 256 to one of four lengths an octave (but not beyond seq_len), so that few distinct
/// shapes occur. The last batch of an order may have fewer rows.
///
/// Packing places each document, the longest first (not shuffled: in order), in the fullest row that still
/// has room for it; documents stay together in all epochs, and the packed rows are shuffled.
///
/// A dataset with a grid, not shuffled, gives the grid's batches as they stand: batch_size and seq_len do not
/// apply.
class Batches {
 public:
  /// Throws ArgumentError for options outside their domain, and for packing a grid without shuffling;
  /// DataError when no row has a target.
  Batches(Dataset dataset, const BatchOptions& options);

  std::int64_t batches_per_epoch() const noexcept { return batches_per_epoch_; }
  /// Whether the dataset says how many rows a batch has.
  bool rows_are_fixed() const noexcept { return as_it_stands_; }
  const BatchCounts& counts() const noexcept { return counts_; }
  Batch next();

  BatchPosition position() const noexcept { return position_; }
  /// Continues from there, bit for bit. Throws ArgumentError for a position that these batches do not have.
  void seek(const BatchPosition& position);

 private:
  /// Part of a dataset's row that becomes a segment.
  struct Piece {
    std::size_t row;
    std::size_t begin;
    std::size_t length;
  };
  /// A row of a batch: pieces [begin, end).
  struct Line {
    std::size_t begin;
    std::size_t end;
    std::size_t length;
  };

  void cut_rows();
  void pack();
  void take_grid();
  std::int64_t targets_in(const Piece& piece) const;
  void begin_epoch();
  Batch assemble(std::span<const std::size_t> lines, std::size_t length) const;
  void fill_line(const Line& line, std::size_t offset, Batch& batch) const;

  Dataset dataset_;
  BatchOptions options_;
  BatchCounts counts_;
  BatchPosition position_;
  std::int64_t batches_per_epoch_ = 0;
  bool as_it_stands_ = false;  // the dataset's grid
  std::vector<Piece> pieces_;
  std::vector<Line> lines_;
  std::vector<std::size_t> order_;        // of lines, in the current epoch
  std::vector<std::size_t> batch_order_;  // position in the epoch -> group of lines in order_
};

}  // namespace wick
