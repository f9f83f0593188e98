#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "generate/session.h"
#include "generate/stop_matcher.h"
#include "wick/error.h"
#include "wick/generate.h"

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
  StopMatcher stops(options.stop);
  StreamDecoder decoder(tokenizer);
  for (std::int32_t id : prompt_ids) result.text += decoder.push(id);

  const auto is_end = [&](std::int32_t id) {
    const auto& ends = tokenizer.eos_ids();
    const auto& configured = model.config().eos_ids;
    return std::find(ends.begin(), ends.end(), id) != ends.end() ||
           std::find(configured.begin(), configured.end(), id) != configured.end();
  };

  // What a GPU chooses, and the likeliest token, the device knows first: then a step is submitted before the
  // token that it begins with was looked at, and dropped when that one ends the text. What the host draws is
  // known here first; its text is made while the step after it runs.
  const Clock::time_point start = Clock::now();
  Clock::time_point decode_start;
  Session session(model, adapter, prompt_ids, options.sampling,
                  std::max(prompt_length + most, Session::padded_length(model.config(), prompt_length)));
  std::optional<Fed> step = session.feed_prompt(prompt_ids);
  while (result.finish_reason.empty()) {
    const bool may_go_on = static_cast<std::int64_t>(result.ids.size()) + 1 < most;
    std::optional<Fed> next;
    if (session.may_run_ahead() && may_go_on) next = session.feed(step->choice.id);
    const SampledToken chosen = session.token_after(*step);
    if (result.ids.empty()) {
      result.prompt_seconds = seconds_since(start);
      decode_start = Clock::now();
    }
    const bool is_eos = is_end(chosen.id);
    if (!session.may_run_ahead() && may_go_on && !is_eos)
      next = session.feed(Tensor::from(std::vector<std::int32_t>{chosen.id}, {1, 1}));
    step = std::move(next);
    result.ids.push_back(chosen.id);
    GeneratedToken token{chosen.id, stops.push(decoder.push(chosen.id)), chosen.probability, chosen.logit,
                         is_eos};
    if (token.is_eos)
      result.finish_reason = "eos";
    else if (stops.matched())
      result.finish_reason = "stop";
    else if (!may_go_on)
      result.finish_reason = "length";
    if (!result.finish_reason.empty()) {
      token.text += stops.push(decoder.flush());
      token.text += stops.flush();
    }
    result.completion += token.text;
    if (callback && !callback(token) && result.finish_reason.empty()) result.finish_reason = "callback";
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
