#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/batch_loss.h"
#include "train/batches.h"
#include "wick/error.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/movement.h"
#include "wick/safetensors.h"
#include "wick/trainer.h"

namespace wick {
namespace {

/// An integer tensor of a file as i64.
std::vector<std::int64_t> integers(const Safetensors& file, const TensorInfo& info) {
  if (info.dtype != DType::i64 && info.dtype != DType::i32)
    throw DataError(fmt::format("{}: {} must be i64 or i32, not {}", file.path().string(), info.name,
                                name_of(info.dtype)));
  return cast(Tensor::from_bytes(info.bytes, info.shape, info.dtype), DType::i64).to_vector<std::int64_t>();
}

void check_ids(const std::vector<std::int64_t>& ids, std::int64_t vocab_size, const std::string& file) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocab_size)
      throw DataError(fmt::format("{}: element {} of input_ids is {}; the model's vocabulary has {} tokens",
                                  file, i, ids[i], vocab_size));
}

std::vector<std::byte> allocate(std::int64_t bytes) {
  try {
    return std::vector<std::byte>(static_cast<std::size_t>(bytes));
  } catch (const std::exception&) {
    throw MemoryError(fmt::format("cannot allocate {} bytes for the logits; use a smaller file", bytes));
  }
}

}  // namespace

EvalResult evaluate(const Model& model, const LoraAdapter* adapter, const Dataset& data,
                    std::int64_t batch_size, std::int64_t seq_len) {
  // Shuffling brings rows of one length together, so that there is less padding; a grid is taken as it
  // stands.
  const BatchOptions options{.batch_size = batch_size, .seq_len = seq_len, .shuffle = !data.grid()};
  Batches batches(data, options);
  EvalResult result;
  double total = 0;
  for (std::int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const Batch batch = batches.next();
    if (batch.target_tokens == 0) continue;
    total += cast(batch_loss(model, adapter, BatchTensors(batch)), DType::f64).item<double>();
    result.tokens += batch.target_tokens;
  }
  if (result.tokens == 0)
    throw DataError(
        fmt::format("{}: has no token to predict, so that there is no loss", data.path().string()));
  if (!std::isfinite(total))
    throw NumericError(fmt::format(
        "the loss over {} is {}: a weight of the model{} is not finite, or so large that {} overflows",
        data.path().string(), total, adapter ? " or the adapter" : "", name_of(model.dtype())));
  result.loss = total / static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.loss);
  return result;
}

void write_logits(const Model& model, const LoraAdapter* adapter, const std::filesystem::path& data,
                  const std::filesystem::path& out, std::int64_t batch_size) {
  if (batch_size < 1)
    throw ArgumentError(fmt::format("the batch size must be at least 1, not {}", batch_size));
  const Safetensors file = Safetensors::open(data);
  const TensorInfo& info = file.at("input_ids");
  if (info.shape.rank() != 2 && info.shape.rank() != 3)
    throw DataError(fmt::format("{}: input_ids must be [rows, length] or [steps, batch, length], not {}",
                                data.string(), info.shape.str()));
  const std::vector<std::int64_t> ids = integers(file, info);
  const std::int64_t vocab_size = model.config().vocab_size;
  check_ids(ids, vocab_size, data.string());
  std::vector<std::int64_t> mask;
  if (const TensorInfo* mask_info = file.find("attention_mask")) {
    if (!(mask_info->shape == info.shape))
      throw DataError(fmt::format("{}: attention_mask is {}, input_ids {}", data.string(),
                                  mask_info->shape.str(), info.shape.str()));
    mask = integers(file, *mask_info);
    if (std::find(mask.begin(), mask.end(), 0) == mask.end()) mask.clear();
  }

  const Shape shape = info.shape.inserted(info.shape.rank(), vocab_size);
  const std::int64_t length = info.shape.dim(-1);
  const std::int64_t rows = length == 0 ? 0 : info.shape.elements() / length;
  const std::int64_t row_bytes = length * vocab_size * static_cast<std::int64_t>(sizeof(float));
  std::vector<std::byte> bytes = allocate(rows * row_bytes);
  for (std::int64_t row = 0; row < rows; row += batch_size) {
    const std::int64_t count = std::min(batch_size, rows - row);
    const auto part = [&](const std::vector<std::int64_t>& all) {
      return Tensor::from(std::span(all).subspan(static_cast<std::size_t>(row * length),
                                                 static_cast<std::size_t>(count * length)),
                          {count, length});
    };
    ModelInput input;
    input.ids = part(ids);
    input.adapter = adapter;
    if (!mask.empty()) input.mask = reshape(not_equal(part(mask), 0), Shape{count, 1, 1, length});
    cast(model.forward(input), DType::f32)
        .copy_bytes(std::span(bytes).subspan(static_cast<std::size_t>(row * row_bytes),
                                             static_cast<std::size_t>(count * row_bytes)));
  }
  const TensorToWrite logits{"logits", DType::f32, shape, bytes};
  write_safetensors(out, std::span(&logits, 1));
}

}  // namespace wick
