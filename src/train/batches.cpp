#include "train/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "core/buckets.h"
#include "core/counter_random.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::int64_t length_bucket = 32;
/// Batches whose rows are sorted by length together: enough that their lengths fit, few enough that the
/// company a row is in differs from epoch to epoch.
constexpr std::size_t window_batches = 32;

/// Streams of random words; every epoch has two.
std::uint64_t row_stream(std::int64_t epoch) { return 2 * static_cast<std::uint64_t>(epoch); }
std::uint64_t batch_stream(std::int64_t epoch) { return 2 * static_cast<std::uint64_t>(epoch) + 1; }

std::vector<std::size_t> counted(std::size_t count) {
  std::vector<std::size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  return numbers;
}

}  // namespace

Batch full_batch(std::int64_t rows, std::int64_t length) {
  const auto count = static_cast<std::size_t>(rows * length);
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.input_ids.assign(count, 0);
  batch.labels.assign(count, 0);
  batch.segments.assign(count, 1);
  batch.positions.resize(count);
  for (std::int64_t row = 0; row < rows; ++row)
    std::iota(batch.positions.begin() + row * length, batch.positions.begin() + (row + 1) * length, 0);
  batch.target_tokens = rows * (length - 1);
  return batch;
}

std::vector<std::int32_t> shifted_labels(const Batch& batch) {
  std::vector<std::int32_t> shifted(batch.labels.size(), ignored_label);
  const auto length = static_cast<std::size_t>(batch.length);
  for (std::size_t i = 0; i + 1 < shifted.size(); ++i) {
    const bool last_of_row = (i + 1) % length == 0;
    if (!last_of_row && batch.segments[i] != 0 && batch.segments[i + 1] == batch.segments[i])
      shifted[i] = batch.labels[i + 1];
  }
  return shifted;
}

Batches::Batches(Dataset dataset, const BatchOptions& options)
    : dataset_(std::move(dataset)), options_(options) {
  if (options.batch_size < 1)
    throw ArgumentError(fmt::format("--batch-size must be at least 1, not {}", options.batch_size));
  if (options.seq_len < 2)
    throw ArgumentError(fmt::format("--seq-len must be at least 2, not {}", options.seq_len));
  as_it_stands_ = !options.shuffle && dataset_.grid().has_value();
  if (as_it_stands_ && options.packing)
    throw ArgumentError(fmt::format("{}: --no-shuffle takes its batches as they stand; they cannot be packed",
                                    dataset_.path().string()));
  position_.seed = options.seed;
  if (as_it_stands_)
    take_grid();
  else
    cut_rows();
  if (pieces_.empty())
    throw DataError(fmt::format("{}: no row has a token to learn within --seq-len {}",
                                dataset_.path().string(), options.seq_len));
  if (options.packing) {
    pack();
  } else {
    for (std::size_t i = 0; i < pieces_.size(); ++i) lines_.push_back({i, i + 1, pieces_[i].length});
  }
  const auto lines = static_cast<std::int64_t>(lines_.size());
  batches_per_epoch_ = (lines + options_.batch_size - 1) / options_.batch_size;
  begin_epoch();
}

void Batches::cut_rows() {
  const auto most = static_cast<std::size_t>(options_.seq_len);
  for (std::size_t i = 0; i < dataset_.size(); ++i) {
    const DatasetRow row = dataset_.row(i);
    const std::size_t pieces_before = pieces_.size();
    std::size_t begin = 0;
    // Each piece begins with the last token of the one before, so that every token but the first is a target
    // once.
    do {
      const Piece piece{i, begin, std::min(most, row.ids.size() - begin)};
      if (targets_in(piece) > 0) pieces_.push_back(piece);
      begin += most - 1;
    } while (row.may_split && begin + 1 < row.ids.size());
    if (pieces_.size() == pieces_before) {
      ++counts_.skipped_rows;
    } else if (row.ids.size() > most) {
      ++(row.may_split ? counts_.split_rows : counts_.truncated_rows);
      if (!row.may_split) counts_.lost_tokens += static_cast<std::int64_t>(row.ids.size() - most);
    }
  }
}

void Batches::take_grid() {
  const BatchGrid grid = *dataset_.grid();
  options_.batch_size = grid.batch;
  options_.seq_len = grid.length;
  for (std::size_t i = 0; i < dataset_.size(); ++i) pieces_.push_back({i, 0, dataset_.row(i).ids.size()});
}

std::int64_t Batches::targets_in(const Piece& piece) const {
  const auto labels = dataset_.row(piece.row).labels.subspan(piece.begin, piece.length);
  return labels.empty() ? 0 : std::count_if(labels.begin() + 1, labels.end(), [](std::int32_t label) {
    return label != ignored_label;
  });
}

void Batches::pack() {
  if (options_.shuffle)
    std::stable_sort(pieces_.begin(), pieces_.end(),
                     [](const Piece& a, const Piece& b) { return a.length > b.length; });
  std::vector<std::vector<Piece>> packed;
  std::multimap<std::size_t, std::size_t> by_room;  // free tokens -> packed row
  for (const Piece& piece : pieces_) {
    const auto fit = by_room.lower_bound(piece.length);
    std::size_t room = static_cast<std::size_t>(options_.seq_len);
    std::size_t target = packed.size();
    if (fit != by_room.end()) {
      std::tie(room, target) = *fit;
      by_room.erase(fit);
    } else {
      packed.emplace_back();
    }
    packed[target].push_back(piece);
    by_room.emplace(room - piece.length, target);
  }
  pieces_.clear();
  for (const std::vector<Piece>& row : packed) {
    Line line{pieces_.size(), pieces_.size() + row.size(), 0};
    for (const Piece& piece : row) {
      pieces_.push_back(piece);
      line.length += piece.length;
    }
    lines_.push_back(line);
  }
}

void Batches::begin_epoch() {
  order_ = counted(lines_.size());
  batch_order_ = counted(static_cast<std::size_t>(batches_per_epoch_));
  if (!options_.shuffle) return;
  shuffle(order_, CounterRandom(position_.seed, row_stream(position_.epoch)));
  const std::size_t window = window_batches * static_cast<std::size_t>(options_.batch_size);
  for (std::size_t begin = 0; begin < order_.size(); begin += window) {
    const auto first = order_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = order_.begin() + static_cast<std::ptrdiff_t>(std::min(order_.size(), begin + window));
    std::stable_sort(first, last,
                     [this](std::size_t a, std::size_t b) { return lines_[a].length < lines_[b].length; });
  }
  shuffle(batch_order_, CounterRandom(position_.seed, batch_stream(position_.epoch)));
}

Batch Batches::next() {
  if (position_.index == batches_per_epoch_) seek({position_.seed, position_.epoch + 1, 0});
  const auto batch_size = static_cast<std::size_t>(options_.batch_size);
  const auto most = static_cast<std::size_t>(options_.seq_len);
  const std::size_t begin = batch_order_[static_cast<std::size_t>(position_.index)] * batch_size;
  const auto lines = std::span(order_).subspan(begin, std::min(batch_size, order_.size() - begin));
  std::size_t longest = 0;
  for (std::size_t line : lines) longest = std::max(longest, lines_[line].length);
  const auto padded =
      static_cast<std::size_t>(bucketed_length(static_cast<std::int64_t>(longest), length_bucket));
  Batch batch = assemble(lines, as_it_stands_ ? most : std::min(most, padded));
  ++position_.index;
  return batch;
}

Batch Batches::assemble(std::span<const std::size_t> lines, std::size_t length) const {
  const std::size_t size = lines.size() * length;
  Batch batch;
  batch.rows = static_cast<std::int64_t>(lines.size());
  batch.length = static_cast<std::int64_t>(length);
  batch.input_ids.resize(size);
  batch.positions.resize(size);
  batch.segments.resize(size);
  batch.labels.assign(size, ignored_label);
  for (std::size_t i = 0; i < lines.size(); ++i) fill_line(lines_[lines[i]], i * length, batch);
  for (std::int32_t label : shifted_labels(batch)) batch.target_tokens += label != ignored_label;
  return batch;
}

void Batches::fill_line(const Line& line, std::size_t offset, Batch& batch) const {
  for (std::size_t p = line.begin; p < line.end; ++p) {
    const Piece& piece = pieces_[p];
    const DatasetRow row = dataset_.row(piece.row);
    for (std::size_t i = 0; i < piece.length; ++i, ++offset) {
      batch.input_ids[offset] = row.ids[piece.begin + i];
      batch.labels[offset] = row.labels[piece.begin + i];
      batch.positions[offset] = static_cast<std::int32_t>(i);
      batch.segments[offset] = static_cast<std::int32_t>(p - line.begin + 1);
    }
  }
}

void Batches::seek(const BatchPosition& position) {
  if (position.epoch < 0 || position.index < 0 || position.index > batches_per_epoch_)
    throw ArgumentError(fmt::format("these data have no batch {} in epoch {}; an epoch has {}",
                                    position.index, position.epoch, batches_per_epoch_));
  const bool same_order = position.seed == position_.seed && position.epoch == position_.epoch;
  position_ = position;
  if (!same_order) begin_epoch();
}

}  // namespace wick
