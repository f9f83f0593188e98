#include "generate/feed.h"

#include <fmt/format.h>

#include "generate/device_sampler.h"
#include "wick/error.h"
#include "wick/generate.h"
#include "wick/ops.h"

namespace wick {

Tensor record_feed(const Model& model, ModelInput input) {
  input.last_only = true;
  return reshape(model.forward(input), {input.ids.dim(0), model.config().vocab_size});
}

void append_tensors(const KvCache& cache, std::vector<Tensor>& outputs) {
  for (const KvCache::Layer& layer : cache.layers) {
    outputs.push_back(layer.k);
    outputs.push_back(layer.v);
  }
}

Explanation explain_forward(const Model& model, const LoraAdapter* adapter, std::int64_t rows,
                            std::int64_t length, std::int64_t cached) {
  const std::int64_t positions = model.config().max_position_embeddings;
  if (rows < 1 || length < 1 || cached < 0 || cached + length > positions)
    throw ArgumentError(fmt::format(
        "cannot feed {} rows of {} tokens behind {}: at least 1 row and 1 token, and the model has "
        "{} positions",
        rows, length, cached, positions));
  KvCache cache = model.make_cache(rows, cached + length);
  cache.length = cached;
  ModelInput input;
  input.ids = Tensor::from(std::vector<std::int32_t>(static_cast<std::size_t>(rows * length), 0),
                           Shape{rows, length});
  input.cache = &cache;
  input.adapter = adapter;
  const bool on_host = model.device() == cpu;
  Tensor logits = record_feed(model, input);
  if (on_host) logits = cast(logits, DType::f32);
  std::vector<Tensor> outputs{logits};
  if (on_host)
    outputs.push_back(argmax(logits, 1, true));
  else
    outputs.push_back(DeviceSampler({.temperature = 0}, {}, logits.dim(1)).choose(logits).numbers);
  append_tensors(cache, outputs);
  Explanation result = explain(outputs, History::drop);
  result.title = fmt::format("generation step: {} x {} tokens behind {}, {} weights", rows, length, cached,
                             name_of(model.dtype()));
  return result;
}

}  // namespace wick
