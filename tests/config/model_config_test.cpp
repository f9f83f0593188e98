#include "wick/model_config.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/reference.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "wick/error.h"

namespace wick::testing {
namespace {

using Windows = std::vector<std::optional<std::int64_t>>;
using nlohmann::json;

/// A small valid configuration with changes.
json small(const std::string& type, const json& changes = json::object()) {
  json config{{"model_type", type},      {"vocab_size", 100},      {"hidden_size", 32},
              {"intermediate_size", 48}, {"num_hidden_layers", 4}, {"num_attention_heads", 4},
              {"num_key_value_heads", 2}};
  config.update(changes);
  return config;
}

ModelConfig parse(const json& config) { return ModelConfig::from_json(config.dump(), "c.json"); }

std::string complaint(const json& config) {
  return error_text<ConfigError>([&] { parse(config); });
}

TEST(ModelConfig, ReadsTheReferenceModels) {
  WICK_NEEDS_REFERENCE();
  const auto load = [](const char* name) {
    return ModelConfig::from_file(reference_directory() / "models" / name / "config.json");
  };
  const ModelConfig llama = load("tiny-llama3");
  EXPECT_EQ(llama.architecture, "llama");
  EXPECT_EQ(llama.vocab_size, 512);
  EXPECT_EQ(llama.intermediate_size, 160);
  EXPECT_EQ(llama.kv_heads, 2);
  EXPECT_EQ(llama.head_dim, 16);
  EXPECT_EQ(llama.rope, (RopeConfig{500000.0, RopeConfig::Type::llama3, 8.0, 1.0, 4.0, 64}));
  EXPECT_FALSE(llama.tie_word_embeddings);
  EXPECT_EQ(llama.dtype, DType::f32);
  EXPECT_EQ(llama.bos_id, 1);
  EXPECT_EQ(llama.eos_ids, std::vector<std::int64_t>{2});
  EXPECT_EQ(llama.pad_id, std::nullopt);
  EXPECT_EQ(llama.initializer_range, 0.08);

  const ModelConfig mistral = load("tiny-mistral");
  EXPECT_EQ(mistral.sliding_windows, Windows(3, 16));
  EXPECT_EQ(mistral.rope.theta, 10000.0);

  const ModelConfig qwen = load("tiny-qwen2");
  EXPECT_EQ(qwen.head_dim, 16);
  EXPECT_EQ(qwen.rope.theta, 1e6);
  EXPECT_TRUE(qwen.attention_bias);
  EXPECT_FALSE(qwen.attention_output_bias);
  EXPECT_TRUE(qwen.tie_word_embeddings);
  EXPECT_EQ(qwen.sliding_window(2), std::nullopt);

  EXPECT_EQ(load("stories260k").rms_norm_eps, 1e-5);
}

TEST(ModelConfig, WrittenConfigsReadBackEqual) {
  WICK_NEEDS_REFERENCE();
  for (const char* name : {"stories260k", "tiny-llama3", "tiny-mistral", "tiny-qwen2"}) {
    const auto config = ModelConfig::from_file(reference_directory() / "models" / name / "config.json");
    EXPECT_EQ(ModelConfig::from_json(config.to_json()), config) << name;
  }
}

TEST(ModelConfig, EveryFieldSurvivesWriting) {
  ModelConfig config = parse(small("qwen3", {{"head_dim", 16},
                                             {"attention_bias", true},
                                             {"use_sliding_window", true},
                                             {"sliding_window", 7},
                                             {"max_window_layers", 2},
                                             {"eos_token_id", {3, 4}},
                                             {"bos_token_id", 5},
                                             {"pad_token_id", 6},
                                             {"dtype", "bfloat16"},
                                             {"rms_norm_eps", 1e-5},
                                             {"tie_word_embeddings", true},
                                             {"rope_theta", 5e6},
                                             {"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}}));
  EXPECT_EQ(config.sliding_windows, (Windows{{}, {}, 7, 7}));
  EXPECT_EQ(config.rope, (RopeConfig{5e6, RopeConfig::Type::linear, 2.5}));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_TRUE(config.attention_output_bias);
  EXPECT_EQ(ModelConfig::from_json(config.to_json()), config);
  config.sliding_windows = {7, {}, 7, {}};  // only layer_types can say this
  EXPECT_EQ(ModelConfig::from_json(config.to_json()), config);

  const ModelConfig llama =
      parse(small("llama", {{"attention_bias", true}, {"mlp_bias", true}, {"eos_token_id", nullptr}}));
  EXPECT_TRUE(llama.attention_bias && llama.attention_output_bias && llama.mlp_bias);
  EXPECT_TRUE(llama.eos_ids.empty());
  EXPECT_EQ(ModelConfig::from_json(llama.to_json()), llama);
}

// The defaults of the configuration classes of transformers 5.17.
TEST(ModelConfig, MissingKeysTakeTheClassesDefaults) {
  const ModelConfig llama = parse({{"model_type", "llama"}});
  EXPECT_EQ(llama.vocab_size, 32000);
  EXPECT_EQ(llama.hidden_size, 4096);
  EXPECT_EQ(llama.intermediate_size, 11008);
  EXPECT_EQ(llama.layers, 32);
  EXPECT_EQ(llama.kv_heads, 32);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(llama.rms_norm_eps, 1e-6);
  EXPECT_EQ(llama.rope, RopeConfig{});
  EXPECT_EQ(llama.bos_id, 1);
  EXPECT_EQ(llama.eos_ids, std::vector<std::int64_t>{2});
  EXPECT_EQ(llama.dtype, std::nullopt);
  EXPECT_FALSE(llama.attention_bias || llama.mlp_bias || llama.tie_word_embeddings || llama.qk_norm);
  EXPECT_TRUE(llama.sliding_windows.empty());

  const ModelConfig mistral = parse({{"model_type", "mistral"}});
  EXPECT_EQ(mistral.intermediate_size, 14336);
  EXPECT_EQ(mistral.kv_heads, 8);
  EXPECT_EQ(mistral.max_position_embeddings, 131072);
  EXPECT_EQ(mistral.sliding_windows, Windows(32, 4096));
  EXPECT_TRUE(parse({{"model_type", "mistral"}, {"sliding_window", nullptr}}).sliding_windows.empty());

  const ModelConfig qwen2 = parse({{"model_type", "qwen2"}});
  EXPECT_EQ(qwen2.vocab_size, 151936);
  EXPECT_EQ(qwen2.intermediate_size, 22016);
  EXPECT_EQ(qwen2.max_position_embeddings, 32768);
  EXPECT_EQ(qwen2.kv_heads, 32);
  EXPECT_EQ(qwen2.bos_id, std::nullopt);
  EXPECT_TRUE(qwen2.eos_ids.empty());
  EXPECT_TRUE(qwen2.attention_bias);
  EXPECT_TRUE(qwen2.sliding_windows.empty());

  const ModelConfig qwen3 = parse({{"model_type", "qwen3"},
                                   {"hidden_size", 1024},
                                   {"num_attention_heads", 16},
                                   {"num_key_value_heads", 8}});
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_FALSE(qwen3.attention_bias);
  EXPECT_TRUE(qwen3.qk_norm);

  EXPECT_EQ(parse(small("qwen2", {{"num_key_value_heads", nullptr}})).kv_heads, 4);
  EXPECT_EQ(parse({{"architectures", {"Qwen3ForCausalLM"}}}).architecture, "qwen3");
}

TEST(ModelConfig, OlderAndNewerKeysMeanTheSame) {
  const json scaling{{"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 64},
                     {"rope_type", "llama3"}};
  json parameters = scaling;
  parameters["rope_theta"] = 5e5;
  const auto older =
      parse(small("llama", {{"rope_theta", 5e5}, {"rope_scaling", scaling}, {"torch_dtype", "float16"}}));
  const auto newer = parse(small("llama", {{"rope_parameters", parameters}, {"dtype", "float16"}}));
  EXPECT_EQ(older, newer);
  EXPECT_EQ(older.dtype, DType::f16);
  EXPECT_EQ(older.rope.original_max_position, 64);

  EXPECT_EQ(parse(small("llama", {{"rope_scaling", nullptr}, {"rope_theta", 7}})).rope, RopeConfig{7.0});
  EXPECT_EQ(parse(small("llama", {{"rope_parameters", {{"rope_theta", 8}}}, {"rope_theta", 7}})).rope,
            RopeConfig{8.0});
  const json without{{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  EXPECT_EQ(parse(small("llama", {{"rope_scaling", without}, {"max_position_embeddings", 99}}))
                .rope.original_max_position,
            99);
}

TEST(ModelConfig, SlidingWindowsOfQwen) {
  const auto windows = [](json changes) { return parse(small("qwen2", std::move(changes))).sliding_windows; };
  EXPECT_EQ(windows({{"sliding_window", 9}, {"max_window_layers", 0}}), Windows{});
  EXPECT_EQ(windows({{"use_sliding_window", true}, {"sliding_window", nullptr}}), Windows{});
  EXPECT_EQ(windows({{"use_sliding_window", true}, {"sliding_window", 9}}), Windows{});  // from layer 28 on
  EXPECT_EQ(windows({{"use_sliding_window", true}, {"max_window_layers", 3}}), (Windows{{}, {}, {}, 4096}));
  const json types{"sliding_attention", "full_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(windows({{"use_sliding_window", true}, {"sliding_window", 9}, {"layer_types", types}}),
            (Windows{9, {}, {}, 9}));
  EXPECT_EQ(complaint(small("qwen2", {{"layer_types", types}})),
            "c.json: 'layer_types' says sliding_attention for layer 0, but use_sliding_window or "
            "sliding_window is not set");
  EXPECT_EQ(complaint(small("qwen2", {{"layer_types", {"full_attention"}}})),
            "c.json: 'layer_types' has 1 entries, but num_hidden_layers is 4");
  EXPECT_EQ(complaint(small("qwen2", {{"layer_types", {"chunked_attention"}}})),
            "c.json: 'layer_types[0]' is \"chunked_attention\", which is not supported; supported are: "
            "full_attention, "
            "sliding_attention");
  EXPECT_EQ(complaint(small("mistral", {{"layer_types", types}})),
            "c.json: 'layer_types' says full_attention for layer 1, which a mistral model has not");
}

struct Refusal {
  const char* name;
  json config;
  std::string text;
};

class RefusedModelConfig : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedModelConfig, NamesTheKey) {
  EXPECT_EQ(complaint(GetParam().config), "c.json: " + GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Values, RefusedModelConfig,
    ::testing::Values(
        Refusal{"architecture", small("gpt2"),
                "'model_type' is \"gpt2\"; supported are: llama, mistral, qwen2, qwen3"},
        Refusal{"no_architecture", json::object(),
                "the file's value must have a 'model_type' (one of: llama, mistral, qwen2, qwen3) or a "
                "supported class in "
                "'architectures'"},
        Refusal{"unknown_class",
                {{"architectures", {"GPT2LMHeadModel"}}},
                "the file's value must have a 'model_type' (one of: llama, mistral, qwen2, qwen3) or a "
                "supported class in "
                "'architectures', which names GPT2LMHeadModel"},
        Refusal{"classifier", small("llama", {{"architectures", {"LlamaForSequenceClassification"}}}),
                "'architectures' names LlamaForSequenceClassification, not LlamaForCausalLM: only causal "
                "language models "
                "are supported"},
        Refusal{"not_an_object", json::array(), "the file's value must be an object, not []"},
        Refusal{"zero", small("llama", {{"hidden_size", 0}}),
                "'hidden_size' must be from 1 to 2147483647, not 0"},
        Refusal{"negative", small("llama", {{"vocab_size", -1}}),
                "'vocab_size' must be from 1 to 2147483647, not -1"},
        Refusal{"two_to_the_31", small("llama", {{"intermediate_size", 2147483648}}),
                "'intermediate_size' must be from 1 to 2147483647, not 2147483648"},
        Refusal{"zero_heads", small("llama", {{"num_attention_heads", 0}}),
                "'num_attention_heads' must be from 1 to 2147483647, not 0"},
        Refusal{"zero_kv_heads", small("llama", {{"num_key_value_heads", 0}}),
                "'num_key_value_heads' must be from 1 to 2147483647, not 0"},
        Refusal{"many_layers", small("qwen2", {{"num_hidden_layers", 2147483647}}),
                "'num_hidden_layers' must be from 1 to 10000, not 2147483647"},
        Refusal{"fraction", small("llama", {{"hidden_size", 32.5}}),
                "'hidden_size' must be a whole number, not 32.5"},
        Refusal{"text", small("llama", {{"hidden_size", "32"}}),
                "'hidden_size' must be a whole number, not \"32\""},
        Refusal{"hidden_not_multiple", small("llama", {{"hidden_size", 33}}),
                "the file's value has a hidden_size (33) that is not a multiple of num_attention_heads (4), "
                "and no head_dim"},
        Refusal{"heads_not_multiple", small("llama", {{"num_key_value_heads", 3}}),
                "'num_attention_heads' (4) must be a multiple of 'num_key_value_heads' (3)"},
        Refusal{"odd_head_dim", small("llama", {{"head_dim", 7}}),
                "'head_dim' must be even for rotary embeddings, not 7"},
        Refusal{"heads_times_head_dim", small("llama", {{"num_attention_heads", 65536}, {"head_dim", 65536}}),
                "'num_attention_heads' (65536) times 'head_dim' (65536) must be below 2^31"},
        Refusal{"activation", small("llama", {{"hidden_act", "gelu"}}),
                "'hidden_act' is \"gelu\"; only silu is supported"},
        Refusal{"quantised", small("llama", {{"quantization_config", {{"quant_method", "gptq"}}}}),
                "'quantization_config' is set: quantised weights are not supported; use the model's original "
                "weights"},
        Refusal{"mrope", small("qwen2", {{"use_mrope", true}}), "'use_mrope' is set, which is not supported"},
        Refusal{"eps", small("llama", {{"rms_norm_eps", 0}}),
                "'rms_norm_eps' must be above 0 and at most 1, not 0"},
        Refusal{"theta", small("llama", {{"rope_theta", -1}}),
                "'rope_theta' must be a positive number, not -1"},
        Refusal{"rope_type", small("llama", {{"rope_scaling", {{"type", "yarn"}, {"factor", 4}}}}),
                "'rope_scaling.type' is \"yarn\", which is not supported; supported are: default, linear, "
                "llama3"},
        Refusal{"rope_factor", small("llama", {{"rope_scaling", {{"rope_type", "linear"}}}}),
                "'rope_scaling' must have a value for 'factor'"},
        Refusal{"rope_factor_zero",
                small("llama", {{"rope_parameters", {{"rope_type", "linear"}, {"factor", 0}}}}),
                "'factor' must be a positive number, not 0"},
        Refusal{"rope_frequencies",
                small("llama", {{"rope_scaling",
                                 {{"rope_type", "llama3"},
                                  {"factor", 8},
                                  {"low_freq_factor", 4},
                                  {"high_freq_factor", 4}}}}),
                "'high_freq_factor' must be above low_freq_factor, not 4"},
        Refusal{"rope_by_layer",
                small("qwen2", {{"rope_parameters", {{"full_attention", {{"rope_theta", 1}}}}}}),
                "'rope_parameters' must be the same for all layers: rope parameters by layer type are not "
                "supported"},
        Refusal{"partial_rotary", small("llama", {{"partial_rotary_factor", 0.5}}),
                "'partial_rotary_factor' must be 1: partial rotary embeddings are not supported"},
        Refusal{"window", small("mistral", {{"sliding_window", 0}}),
                "'sliding_window' must be from 1 to 2147483647, not 0"},
        Refusal{"eos_outside", small("llama", {{"eos_token_id", {2, 100}}}),
                "'eos_token_id' is 100, outside the vocabulary of 100"},
        Refusal{"bos_text", small("llama", {{"bos_token_id", "<s>"}}),
                "'bos_token_id' must be a whole number, not \"<s>\""},
        Refusal{"dtype", small("llama", {{"torch_dtype", "float8_e4m3fn"}}),
                "'torch_dtype' is \"float8_e4m3fn\"; supported are: float32, bfloat16, float16, float64"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ModelConfig, MalformedJsonIsAFormatError) {
  const TemporaryDirectory directory;
  const std::string path = (directory / "config.json").string();
  write_text(path, "{\"model_type\": \"llama\",}");
  EXPECT_EQ(error_text<FormatError>([&] { ModelConfig::from_file(path); }),
            path +
                ": not valid JSON: parse error at line 1, column 24: syntax error while parsing object key - "
                "unexpected "
                "'}'; expected string literal");
  EXPECT_EQ(error_text<FileError>([&] { ModelConfig::from_file(path + "x"); }),
            "cannot open '" + path + "x': No such file or directory");
}

TEST(ModelConfig, WhatAnArchitectureCannotSayIsNotWritten) {
  const auto says = [](const ModelConfig& config) {
    return error_text<ConfigError>([&] { config.to_json(); });
  };
  const std::string start = "the model configuration: ";
  ModelConfig config = parse(small("llama"));
  config.sliding_windows = Windows(4, 8);
  EXPECT_EQ(says(config), start + "a llama model cannot have these sliding windows");
  config = parse(small("mistral", {{"sliding_window", 8}}));
  config.sliding_windows[1].reset();
  EXPECT_EQ(says(config), start + "a mistral model cannot have these sliding windows");
  config.sliding_windows.pop_back();
  EXPECT_EQ(says(config), start + "there are 3 sliding windows for 4 layers");
  config = parse(small("qwen2"));
  config.attention_bias = false;
  EXPECT_EQ(says(config), start + "a qwen2 model cannot have these attention biases");
  config = parse(small("qwen3"));
  config.qk_norm = false;
  EXPECT_EQ(says(config), start + "a qwen3 model must have norms of queries and keys");
  config.mlp_bias = true;
  EXPECT_EQ(says(config), start + "a qwen3 model cannot have 'mlp_bias'");
  config = parse(small("llama"));
  config.rms_norm_eps = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(says(config), start + "'rms_norm_eps' must be above 0 and at most 1, not nan");
  config.architecture = "other";
  EXPECT_EQ(says(config),
            start + "the architecture 'other' is not supported; supported are: llama, mistral, qwen2, qwen3");
}

}  // namespace
}  // namespace wick::testing
