#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/test_device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/ops.h"

namespace wick {
namespace {

using ::testing::HasSubstr;
using wick::testing::error_text;

constexpr std::int64_t vocab_size = 40;

ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = vocab_size;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.layers = 2;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 8;
  config.max_position_embeddings = 256;
  config.initializer_range = 0.5;
  config.tie_word_embeddings = true;
  return config;
}

Model tiny_model(std::vector<std::int64_t> eos_ids = {}) {
  ModelConfig config = tiny_config();
  config.eos_ids = std::move(eos_ids);
  return Model::random(config, 3, DType::f32, test::test_device());
}

/// Token i is the text "(i)".
Tokenizer numbers_tokenizer() {
  std::string vocabulary;
  for (std::int64_t i = 0; i < vocab_size; ++i)
    vocabulary += fmt::format("{}\"({})\": {}", i ? ", " : "", i, i);
  return Tokenizer::from_json(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {)" + vocabulary +
                              R"(}, "merges": []}})");
}

std::string text_of(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (std::int32_t id : ids) text += fmt::format("({})", id);
  return text;
}

std::vector<float> last_logits(const Model& model, const std::vector<std::int32_t>& ids) {
  ModelInput input;
  input.ids = Tensor::from(ids, {1, static_cast<std::int64_t>(ids.size())});
  const auto length = static_cast<std::int64_t>(ids.size());
  return slice(model.forward(input), 1, length - 1, length).to_vector<float>();
}

/// Token by token from the whole text each time: no cache, no padding, nothing in flight.
std::vector<std::int32_t> expected_ids(const Model& model, std::vector<std::int32_t> ids,
                                       const GenerateOptions& options) {
  const std::size_t prompt = ids.size();
  Sampler sampler(options.sampling);
  for (std::int64_t i = 0; i < options.max_tokens; ++i)
    ids.push_back(sampler.sample(last_logits(model, ids), ids).id);
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end()};
}

GenerateOptions greedy(std::int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = 0;
  return options;
}

const std::vector<std::int32_t> prompt{5, 9, 2, 31, 7};

struct Way {
  const char* name;
  SamplingOptions sampling;
};

class GenerateWays : public ::testing::TestWithParam<Way> {};

TEST_P(GenerateWays, EqualsDecodingWithoutACache) {
  const Model model = tiny_model();
  GenerateOptions options = greedy(12);
  options.sampling = GetParam().sampling;
  std::vector<GeneratedToken> tokens;
  const Generation result =
      generate(model, numbers_tokenizer(), prompt, options, nullptr, [&](const GeneratedToken& token) {
        tokens.push_back(token);
        return true;
      });
  EXPECT_EQ(result.ids, expected_ids(model, prompt, options));
  EXPECT_EQ(result.finish_reason, "length");
  EXPECT_EQ(result.completion, text_of(result.ids));
  EXPECT_EQ(result.text, text_of(prompt) + text_of(result.ids));
  ASSERT_EQ(tokens.size(), result.ids.size());
  std::vector<std::int32_t> ids = prompt;
  for (const GeneratedToken& token : tokens) {
    const std::vector<float> logits = last_logits(model, ids);
    EXPECT_NEAR(token.logit, logits[static_cast<std::size_t>(token.id)], 1e-4);
    EXPECT_GT(token.probability, 0);
    EXPECT_LE(token.probability, 1);
    ids.push_back(token.id);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, GenerateWays,
                         ::testing::Values(Way{"greedy", {.temperature = 0}},
                                           Way{"penalised", {.temperature = 0, .repetition_penalty = 1.4}},
                                           Way{"sampled", {.temperature = 0.9, .top_k = 12, .seed = 4}}),
                         [](const auto& i) { return i.param.name; });

TEST(Generate, EndsAtTheEndOfTextWhateverWasSubmitted) {
  const std::vector<std::int32_t> ids = expected_ids(tiny_model(), prompt, greedy(8));
  const auto first = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), ids[4]) - ids.begin());
  for (double temperature : {0.0, 1e-4}) {
    GenerateOptions options = greedy(8);
    options.sampling.temperature = temperature;
    const Generation result = generate(tiny_model({ids[4]}), numbers_tokenizer(), prompt, options);
    EXPECT_EQ(result.finish_reason, "eos");
    EXPECT_EQ(result.ids,
              std::vector<std::int32_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(first) + 1));
  }
}

TEST(Generate, EndsBeforeAStopText) {
  const Model model = tiny_model();
  const std::vector<std::int32_t> ids = expected_ids(model, prompt, greedy(8));
  GenerateOptions options = greedy(8);
  options.stop = {text_of({ids[3]}) + text_of({ids[4]}).substr(0, 2)};
  const Generation result = generate(model, numbers_tokenizer(), prompt, options);
  EXPECT_EQ(result.finish_reason, "stop");
  EXPECT_EQ(result.completion, text_of({ids[0], ids[1], ids[2]}));
  EXPECT_EQ(result.ids.size(), 5U);
}

TEST(Generate, EndsWhereTheCallbackSaysSoOrThrows) {
  const Model model = tiny_model();
  const Tokenizer tokenizer = numbers_tokenizer();
  int calls = 0;
  const Generation result = generate(model, tokenizer, prompt, greedy(9), nullptr,
                                     [&](const GeneratedToken&) { return ++calls < 3; });
  EXPECT_EQ(result.finish_reason, "callback");
  EXPECT_EQ(result.ids.size(), 3U);
  const auto broken = [](const GeneratedToken&) -> bool { throw std::runtime_error("no more paper"); };
  EXPECT_EQ(
      error_text<std::runtime_error>([&] { generate(model, tokenizer, prompt, greedy(9), nullptr, broken); }),
      "no more paper");
  EXPECT_EQ(generate(model, tokenizer, prompt, greedy(3)).ids, expected_ids(model, prompt, greedy(3)));
}

/// The step after the one that went wrong is in flight already.
TEST(Generate, LogitsThatAreNoNumbersAreAnErrorAndTheNextCallWorks) {
  const std::vector<std::int32_t> ids = expected_ids(tiny_model(), prompt, greedy(3));
  Model model = tiny_model();
  const Tensor table = model.parameter("model.embed_tokens.weight");
  std::vector<float> broken = table.to_vector<float>();
  const std::size_t row = static_cast<std::size_t>(ids[1]) * 16;
  ASSERT_EQ(std::find(prompt.begin(), prompt.end(), ids[1]), prompt.end());
  broken[row] = std::numeric_limits<float>::quiet_NaN();  // also as the head: the first logits show it
  model.set_parameter("model.embed_tokens.weight", Tensor::from(broken, table.shape()).to(table.device()));
  EXPECT_THAT(error_text<NumericError>([&] { generate(model, numbers_tokenizer(), prompt, greedy(6)); }),
              HasSubstr("is nan; no token can be chosen"));
  model.set_parameter("model.embed_tokens.weight", table);
  EXPECT_EQ(generate(model, numbers_tokenizer(), prompt, greedy(3)).ids, ids);
}

TEST(Generate, UsesEveryPositionAndNoMore) {
  const Model model = tiny_model();
  const std::vector<std::int32_t> long_prompt(250, 4);
  const Generation result = generate(model, numbers_tokenizer(), long_prompt, greedy(100));
  EXPECT_EQ(result.ids.size(), 6U);
  EXPECT_EQ(result.finish_reason, "length");
}

/// Relative and absolute: torch.testing's, for f32.
TEST(Generate, PaddingOfAPromptChangesNoLogit) {
  const Model model = tiny_model();
  for (std::int64_t padding : {1, 3, 11}) {
    std::vector<std::int32_t> padded = prompt;
    padded.insert(padded.end(), static_cast<std::size_t>(padding), 17);
    KvCache cache = model.make_cache(1, 32);
    ModelInput input;
    input.ids = Tensor::from(padded, {1, static_cast<std::int64_t>(padded.size())});
    input.padding = padding;
    input.cache = &cache;
    input.last_only = true;
    std::vector<std::int32_t> ids = prompt;
    const auto expect_logits = [&](const Tensor& logits) {
      const std::vector<float> found = logits.to_vector<float>();
      const std::vector<float> expected = last_logits(model, ids);
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_NEAR(found[i], expected[i], 1e-5 + 1.3e-6 * std::fabs(expected[i]));
    };
    expect_logits(model.forward(input));
    EXPECT_EQ(cache.length, 5);
    // What comes next takes the place of the padding.
    ids.push_back(8);
    ModelInput next;
    next.ids = Tensor::from(std::vector<std::int32_t>{8}, {1, 1});
    next.cache = &cache;
    next.last_only = true;
    expect_logits(model.forward(next));
  }
  ModelInput nothing;
  nothing.ids = zeros({1, 4}, DType::i32);
  nothing.padding = 4;
  EXPECT_EQ(error_text<ArgumentError>([&] { model.forward(nothing); }),
            "4 ids of padding leave nothing of rows of 4");
}

TEST(Generate, TheCachesLengthMayBeATensor) {
  const Model model = tiny_model();
  const auto fed_behind_the_prompt = [&](bool as_tensor) {
    KvCache cache = model.make_cache(1, 32);
    ModelInput first;
    first.ids = Tensor::from(prompt, {1, static_cast<std::int64_t>(prompt.size())});
    first.cache = &cache;
    (void)model.forward(first);
    ModelInput next;
    next.ids = Tensor::from(std::vector<std::int32_t>{8, 3}, {1, 2});
    next.cache = &cache;
    if (as_tensor) {
      cache.length = 31;  // neither read, so that two more would be too many, nor advanced
      next.cache_length = Tensor::scalar(static_cast<std::int64_t>(prompt.size()));
    }
    std::vector<float> logits = model.forward(next).to_vector<float>();
    EXPECT_EQ(cache.length, as_tensor ? 31 : 7);
    return logits;
  };
  EXPECT_EQ(fed_behind_the_prompt(true), fed_behind_the_prompt(false));

  KvCache cache = model.make_cache(1, 32);
  ModelInput input;
  input.ids = zeros({1, 1}, DType::i32);
  input.cache_length = Tensor::scalar(std::int64_t{3});
  const auto error = [&] { return error_text<ArgumentError>([&] { model.forward(input); }); };
  EXPECT_EQ(error(),
            "the cache's length must be an i64 scalar beside a cache, not " + input.cache_length.str());
  input.cache = &cache;
  input.cache_length = zeros({1}, DType::i64);
  EXPECT_EQ(error(),
            "the cache's length must be an i64 scalar beside a cache, not " + input.cache_length.str());
}

TEST(Generate, AStepIsRecordedOnce) {
  const Model model = tiny_model();
  for (const SamplingOptions& sampling :
       {SamplingOptions{.temperature = 0}, SamplingOptions{.repetition_penalty = 1.4}}) {
    const auto before = plan_cache_stats();
    GenerateOptions options = greedy(20);
    options.sampling = sampling;
    EXPECT_EQ(generate(model, numbers_tokenizer(), prompt, options).ids.size(), 20U);
    const auto after = plan_cache_stats();
    // A plan is asked for by the prompt and by the first step behind it.
    EXPECT_EQ(after.hits + after.misses - before.hits - before.misses, 2U);
  }
}

TEST(Generate, TwoHundredLengthsMakeFewPlans) {
  const Model model = tiny_model();
  const Tokenizer tokenizer = numbers_tokenizer();
  const std::uint64_t before = plan_cache_stats().misses;
  for (std::size_t length = 1; length <= 200; ++length) {
    const std::vector<std::int32_t> ids(length, static_cast<std::int32_t>(length % vocab_size));
    generate(model, tokenizer, ids, greedy(2));
  }
  // 15 lengths of prompts (8, 16, ... 64, 80, ... 128, 160, ... 224), and one step after them.
  EXPECT_LE(plan_cache_stats().misses - before, 16U);
}

}  // namespace
}  // namespace wick
