#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "generate/stop_matcher.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/ops.h"

namespace wick {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check_prompt(const ModelConfig& config, const std::vector<std::int32_t>& ids) {
  if (ids.empty())
    throw ArgumentError("the prompt is empty and the tokenizer adds no beginning-of-text token");
  for (std::int32_t id : ids)
    if (id < 0 || id >= config.vocab_size)
      throw ArgumentError(
          fmt::format("prompt id {} is outside the model's vocabulary of {}", id, config.vocab_size));
  if (static_cast<std::int64_t>(ids.size()) >= config.max_position_embeddings)
    throw ArgumentError(fmt::format("the prompt has {} tokens, the model has {} positions; shorten it",
                                    ids.size(), config.max_position_embeddings));
}

/// A model with a cache that holds what was fed so far.
class Session {
 public:
  Session(const Model& model, const LoraAdapter* adapter, std::int64_t capacity)
      : model_(model), adapter_(adapter), cache_(model.make_cache(1, capacity)) {}

  /// Feeds ids and returns the logits that follow the last one, f32 [vocab].
  std::vector<float> feed(const std::vector<std::int32_t>& ids) {
    ModelInput input;
    input.ids = Tensor::from(ids, {1, static_cast<std::int64_t>(ids.size())});
    input.cache = &cache_;
    input.adapter = adapter_;
    input.last_only = true;
    const Tensor logits = cast(model_.forward(input), DType::f32);
    std::vector<Tensor> outputs{logits};
    for (const KvCache::Layer& layer : cache_.layers) {
      outputs.push_back(layer.k);
      outputs.push_back(layer.v);
    }
    eval(outputs, History::drop);
    return logits.to_vector<float>();
  }

 private:
  const Model& model_;
  const LoraAdapter* adapter_;
  KvCache cache_;
};

}  // namespace

Generation generate(const Model& model, const Tokenizer& tokenizer,
                    const std::vector<std::int32_t>& prompt_ids, const GenerateOptions& options,
                    const LoraAdapter* adapter, const TokenCallback& callback) {
  check_prompt(model.config(), prompt_ids);
  if (options.max_tokens < 1)
    throw ArgumentError(fmt::format("max_tokens must be at least 1, not {}", options.max_tokens));
  const auto prompt_length = static_cast<std::int64_t>(prompt_ids.size());
  const std::int64_t most =
      std::min(options.max_tokens, model.config().max_position_embeddings - prompt_length);

  Generation result;
  result.prompt_ids = prompt_ids;
  Sampler sampler(options.sampling);
  StopMatcher stops(options.stop);
  StreamDecoder decoder(tokenizer);
  for (std::int32_t id : prompt_ids) result.text += decoder.push(id);

  const auto is_end = [&](std::int32_t id) {
    const auto& ends = tokenizer.eos_ids();
    const auto& configured = model.config().eos_ids;
    return std::find(ends.begin(), ends.end(), id) != ends.end() ||
           std::find(configured.begin(), configured.end(), id) != configured.end();
  };

  const Clock::time_point start = Clock::now();
  Session session(model, adapter, prompt_length + most);
  std::vector<float> logits = session.feed(prompt_ids);
  result.prompt_seconds = seconds_since(start);

  const Clock::time_point decode_start = Clock::now();
  std::vector<std::int32_t> history = prompt_ids;
  while (result.finish_reason.empty()) {
    const SampledToken chosen = sampler.sample(logits, history);
    history.push_back(chosen.id);
    result.ids.push_back(chosen.id);
    GeneratedToken token{chosen.id, stops.push(decoder.push(chosen.id)), chosen.probability, chosen.logit,
                         is_end(chosen.id)};
    if (token.is_eos)
      result.finish_reason = "eos";
    else if (stops.matched())
      result.finish_reason = "stop";
    else if (static_cast<std::int64_t>(result.ids.size()) >= most)
      result.finish_reason = "length";
    if (!result.finish_reason.empty()) {
      token.text += stops.push(decoder.flush());
      token.text += stops.flush();
    }
    result.completion += token.text;
    if (callback && !callback(token) && result.finish_reason.empty()) result.finish_reason = "callback";
    if (result.finish_reason.empty()) logits = session.feed({chosen.id});
  }
  result.decode_seconds = seconds_since(decode_start);
  const auto decoded = static_cast<double>(result.ids.size()) - 1;
  if (decoded > 0 && result.decode_seconds > 0) result.tokens_per_second = decoded / result.decode_seconds;
  result.text += result.completion;
  return result;
}

Generation generate(const Model& model, const Tokenizer& tokenizer, const std::string& prompt,
                    const GenerateOptions& options, const LoraAdapter* adapter,
                    const TokenCallback& callback) {
  return generate(model, tokenizer, tokenizer.encode(prompt), options, adapter, callback);
}

}  // namespace wick
