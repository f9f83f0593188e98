#include "generate/session.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/buckets.h"
#include "generate/feed.h"
#include "wick/eval.h"
#include "wick/ops.h"

namespace wick {
namespace {

/// Prompts of up to eight times this are padded to a multiple of it; see bucketed_length.
constexpr std::int64_t prompt_bucket = 8;

/// Inputs of a step ahead of what it takes over: ids, the cache's length and a draw.
constexpr std::size_t first_carried = 3;

std::optional<DeviceSampler> device_sampler(const Model& model, const std::vector<std::int32_t>& prompt,
                                            const SamplingOptions& sampling) {
  if (model.device() == cpu) return std::nullopt;
  return DeviceSampler(sampling, prompt, model.config().vocab_size);
}

}  // namespace

Session::Session(const Model& model, const LoraAdapter* adapter, const std::vector<std::int32_t>& prompt,
                 const SamplingOptions& sampling, std::int64_t capacity)
    : model_(model),
      adapter_(adapter),
      likeliest_(sampling.temperature == 0 && sampling.repetition_penalty == 1),
      device_(device_sampler(model, prompt, sampling)),
      carried_{model.make_cache(1, capacity), device_ ? device_->seen() : Tensor{}},
      step_([this](const std::vector<Tensor>& inputs) { return record_step(inputs); }, step_options()),
      host_(sampling),
      history_(prompt),
      logits_(static_cast<std::size_t>(model.config().vocab_size)) {}

std::int64_t Session::padded_length(const ModelConfig& config, std::int64_t length) {
  return std::min(bucketed_length(length, prompt_bucket), config.max_position_embeddings);
}

Fed Session::feed_prompt(std::vector<std::int32_t> ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  const std::int64_t padded = padded_length(model_.config(), length);
  ids.resize(static_cast<std::size_t>(padded), 0);
  ModelInput input;
  input.ids = Tensor::from(ids, {1, padded});
  input.padding = padded - length;
  Fed fed = record(input, Tensor::scalar(next_share()), carried_);
  eval_async(listed(fed, carried_), History::drop);
  return fed;
}

Fed Session::feed(const Tensor& ids) {
  std::vector<Tensor> inputs{ids, Tensor::scalar(carried_.cache.length++), Tensor::scalar(next_share())};
  for (KvCache::Layer& layer : carried_.cache.layers) {
    inputs.push_back(std::move(layer.k));
    inputs.push_back(std::move(layer.v));
  }
  if (carried_.seen.defined()) inputs.push_back(std::move(carried_.seen));
  const std::vector<Tensor> outputs = step_.submit(std::move(inputs));
  Fed fed{outputs[0], {}};
  std::size_t next = 1;
  if (may_run_ahead()) fed.choice.id = outputs[next++];
  if (device_) fed.choice.numbers = outputs[next++];
  take_over(std::span(outputs).subspan(next), carried_);
  return fed;
}

SampledToken Session::token_after(const Fed& fed) {
  if (device_) {
    const SampledToken chosen = fed.choice.read();
    if (!std::isnan(chosen.probability)) return chosen;
  }
  // Also names the logit that is at fault.
  cast(fed.logits, DType::f32).copy_bytes(std::as_writable_bytes(std::span(logits_)));
  const SampledToken chosen = host_.sample(logits_, history_);
  history_.push_back(chosen.id);
  return chosen;
}

Fed Session::record(ModelInput input, const Tensor& share, Carried& carried) const {
  input.cache = &carried.cache;
  input.adapter = adapter_;
  Fed fed{record_feed(model_, input), {}};
  if (device_) {
    fed.choice = device_->choose(fed.logits, share, carried.seen);
  } else {
    fed.logits = cast(fed.logits, DType::f32);
    if (likeliest_) fed.choice.id = argmax(fed.logits, 1, true);
  }
  return fed;
}

std::vector<Tensor> Session::record_step(const std::vector<Tensor>& inputs) const {
  ModelInput input;
  input.ids = inputs[0];
  input.cache_length = inputs[1];
  Carried carried;
  carried.cache.layers.resize(carried_.cache.layers.size());
  carried.cache.capacity = carried_.cache.capacity;
  take_over(std::span(inputs).subspan(first_carried), carried);
  const Fed fed = record(input, inputs[2], carried);
  return listed(fed, carried);
}

CompiledOptions Session::step_options() const {
  CompiledOptions options;
  options.donated.resize(2 * carried_.cache.layers.size() + (carried_.seen.defined() ? 1 : 0));
  std::iota(options.donated.begin(), options.donated.end(), first_carried);
  return options;
}

std::vector<Tensor> Session::listed(const Fed& fed, const Carried& carried) {
  std::vector<Tensor> list{fed.logits};
  for (const Tensor& of_choice : {fed.choice.id, fed.choice.numbers})
    if (of_choice.defined()) list.push_back(of_choice);
  append_tensors(carried.cache, list);
  if (carried.seen.defined()) list.push_back(carried.seen);
  return list;
}

/// `tensors`: keys and values in turn, then the history where there is one.
void Session::take_over(std::span<const Tensor> tensors, Carried& carried) {
  std::size_t next = 0;
  for (KvCache::Layer& layer : carried.cache.layers) {
    layer.k = tensors[next++];
    layer.v = tensors[next++];
  }
  if (next < tensors.size()) carried.seen = tensors[next];
}

}  // namespace wick
