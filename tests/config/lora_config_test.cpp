#include "wick/lora_config.h"

#include <gtest/gtest.h>

#include <cmath>
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

using nlohmann::json;

json minimal(const json& changes = json::object()) {
  json config{{"peft_type", "LORA"}, {"target_modules", {"q_proj", "v_proj"}}};
  config.update(changes);
  return config;
}

LoraConfig parse(const json& config) { return LoraConfig::from_json(config.dump(), "c.json"); }

std::string complaint(const json& config) {
  return error_text<AdapterError>([&] { parse(config); });
}

TEST(LoraConfig, ReferenceFilesAreWrittenBackTextForText) {
  WICK_NEEDS_REFERENCE();
  for (const char* run : {"lora_stories260k_qv_r8", "lora_tiny-qwen2_all_r4"}) {
    const auto path = reference_directory() / "golden" / run / "adapter_final/adapter_config.json";
    EXPECT_EQ(LoraConfig::from_file(path).to_json(), read_text(path)) << run;
  }
}

TEST(LoraConfig, ReadsAReferenceFile) {
  WICK_NEEDS_REFERENCE();
  const auto config = LoraConfig::from_file(
      reference_directory() / "golden/lora_stories260k_qv_r8/adapter_final/adapter_config.json");
  EXPECT_EQ(config.rank, 8);
  EXPECT_EQ(config.alpha, 16);
  EXPECT_EQ(config.target_modules, TargetModules(ModuleNames{"v_proj", "q_proj"}));
  EXPECT_EQ(config.base_model, "stories260k");
  EXPECT_FALSE(config.use_rslora);
  EXPECT_EQ(config.scale_for("model.layers.0.self_attn.q_proj"), 2.0);
}

TEST(LoraConfig, TheSmallestFileTakesPeftsDefaults) {
  const LoraConfig config = parse(minimal());
  EXPECT_EQ(config.rank, 8);
  EXPECT_EQ(config.alpha, 8);
  EXPECT_EQ(config.dropout, 0);
  EXPECT_EQ(config.exclude_modules, ExcludedModules(ModuleNames{}));
  EXPECT_FALSE(config.layers_to_transform);
}

TEST(LoraConfig, EverySettingSurvivesWriting) {
  LoraConfig config;
  config.rank = 3;
  config.alpha = 4.5;
  config.use_rslora = true;
  config.dropout = 0.05;
  config.target_modules = ModuleNames{"a", "b.c"};
  config.exclude_modules = ModuleRegex(".*x");
  config.rank_pattern = {{"q_proj", 4}, {"v_.*", 2}};
  config.alpha_pattern = {{"q_proj", 1.25}, {"v", 7}};
  config.layers_to_transform = {0, 5};
  config.layers_pattern = {"h", "layers"};
  config.base_model = "some/b\xc3\xa9";
  EXPECT_EQ(LoraConfig::from_json(config.to_json()), config);
  const json written = json::parse(config.to_json());
  EXPECT_EQ(written.at("alpha_pattern").dump(), R"({"q_proj":1.25,"v":7})");
  EXPECT_NE(config.to_json().find(R"("some/b\u00e9")"), std::string::npos);

  LoraConfig other;
  other.target_modules = AllLinear{};
  other.exclude_modules = ModuleNames{"o_proj"};
  EXPECT_EQ(LoraConfig::from_json(other.to_json()), other);
  EXPECT_EQ(json::parse(other.to_json()).at("target_modules"), "all-linear");
  other.target_modules = ModuleRegex("a|b");
  EXPECT_EQ(LoraConfig::from_json(other.to_json()), other);
  EXPECT_EQ(parse(minimal({{"target_modules", "All-Linear"}})).target_modules, TargetModules(AllLinear{}));
  EXPECT_EQ(parse(minimal({{"layers_to_transform", 3}})).layers_to_transform, std::vector<std::int64_t>{3});
}

// Which of these modules PEFT 0.21 takes (check_target_module_exists), as 0 or 1 in their order.
const std::vector<std::string> modules{"model.layers.0.self_attn.q_proj",
                                       "model.layers.1.self_attn.q_proj",
                                       "model.layers.10.self_attn.v_proj",
                                       "model.layers.1.mlp.down_proj",
                                       "lm_head",
                                       "q_proj",
                                       "layers.1.q_proj",
                                       "model.layers.1.xq_proj"};

std::string taken(const LoraConfig& config) {
  std::string digits;
  for (const std::string& module : modules) digits += config.targets(module) ? '1' : '0';
  return digits;
}

TEST(LoraConfig, TakesTheModulesThatPeftTakes) {
  const auto with = [](const json& changes) { return taken(parse(minimal(changes))); };
  EXPECT_EQ(with({{"target_modules", {"q_proj"}}}), "11000110");
  EXPECT_EQ(with({{"target_modules", {"self_attn.q_proj", "lm_head"}}}), "11001000");
  EXPECT_EQ(with({{"target_modules", {"proj"}}}), "00000000");
  EXPECT_EQ(with({{"target_modules", R"(.*\.(q|v)_proj)"}}), "11100010");
  EXPECT_EQ(with({{"target_modules", "q_proj"}}), "00000100");
  EXPECT_EQ(with({{"target_modules", R"(.*layers\.[01]\..*|lm_head)"}}), "11011011");
  EXPECT_EQ(with({{"layers_to_transform", {1}}}), "01000100");
  EXPECT_EQ(with({{"layers_to_transform", 1}, {"layers_pattern", "layers"}}), "01000110");
  EXPECT_EQ(with({{"layers_to_transform", {1}}, {"layers_pattern", {"h", "layers"}}}), "01000110");
  EXPECT_EQ(with({{"layers_to_transform", {1}}, {"layers_pattern", "(lay)(ers)"}}), "01000110");
  EXPECT_EQ(with({{"target_modules", {"q_proj"}}, {"layers_to_transform", json::array()}}), "11000110");
  EXPECT_EQ(
      with({{"target_modules", {"model.layers.0.self_attn.q_proj", "v_proj"}}, {"layers_to_transform", {1}}}),
      "10000000");
  EXPECT_EQ(
      with({{"target_modules", {"q_proj", "lm_head"}}, {"exclude_modules", {"layers.1.self_attn.q_proj"}}}),
      "10001110");
  EXPECT_EQ(with({{"exclude_modules", R"(.*\.1\..*)"}}), "10100100");
  EXPECT_EQ(with({{"target_modules", "all-linear"}}), "11110111");
}

// PEFT's rule re.match("(.*\.)?(<pattern>)$", module), as Python decides it.
TEST(LoraConfig, PatternsMatchAsInPeft) {
  const auto hits = [](const char* pattern) {
    LoraConfig config;
    config.rank_pattern = {{pattern, 99}};
    std::string digits;
    for (const std::string& module : modules) digits += config.rank_for(module) == 99 ? '1' : '0';
    return digits;
  };
  EXPECT_EQ(hits("q_proj"), "11000110");
  EXPECT_EQ(hits("self_attn.q_proj"), "11000000");
  EXPECT_EQ(hits(R"(layers\.1\..*)"), "01010011");
  EXPECT_EQ(hits("model.layers.0.self_attn.q_proj"), "10000000");
  EXPECT_EQ(hits("proj"), "00000000");
  EXPECT_EQ(hits(".*_proj"), "11110111");
  EXPECT_EQ(hits("q_proj|lm_head"), "11001110");
  EXPECT_EQ(hits("attn.q_proj"), "00000000");
  EXPECT_EQ(hits("[a-z]_proj"), "11100110");
  EXPECT_EQ(hits("o.q_proj"), "00000000");
  EXPECT_EQ(hits("layers.1.q.proj"), "00000010");
}

TEST(LoraConfig, ScalesEachModuleByItsOwnRankAndAlpha) {
  LoraConfig config;
  config.rank = 8;
  config.alpha = 16;
  config.rank_pattern = {{"q_proj", 4}, {R"(.*\.0\..*)", 2}};  // the second comes first in the map
  config.alpha_pattern = {{"v_proj", 3}};
  EXPECT_EQ(config.scale_for("model.layers.1.self_attn.q_proj"), 4.0);
  EXPECT_EQ(config.scale_for("model.layers.0.self_attn.q_proj"), 8.0);
  EXPECT_EQ(config.scale_for("model.layers.1.self_attn.v_proj"), 0.375);
  EXPECT_EQ(config.alpha_for("v_proj"), 3.0);
  config.use_rslora = true;
  EXPECT_EQ(config.scale_for("model.layers.1.self_attn.q_proj"), 8.0);
  EXPECT_DOUBLE_EQ(config.scale_for("model.layers.1.mlp.up_proj"), 16.0 / std::sqrt(8.0));
}

struct Refusal {
  const char* name;
  json config;
  std::string text;
};

class RefusedLoraConfig : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedLoraConfig, NamesTheKey) {
  EXPECT_EQ(complaint(GetParam().config), "c.json: " + GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Values, RefusedLoraConfig,
    ::testing::Values(
        Refusal{"dora", minimal({{"use_dora", true}}), "'use_dora' is true, which is not supported"},
        Refusal{"lora_bias", minimal({{"lora_bias", true}}), "'lora_bias' is true, which is not supported"},
        Refusal{"modules_to_save", minimal({{"modules_to_save", {"lm_head"}}}),
                "'modules_to_save' is [\"lm_head\"], which is not supported"},
        Refusal{"bias", minimal({{"bias", "all"}}), "'bias' is \"all\"; only none is supported"},
        Refusal{"target_parameters", minimal({{"target_parameters", {"w"}}}),
                "'target_parameters' is [\"w\"], which is not supported"},
        Refusal{"tokens", minimal({{"trainable_token_indices", {1}}}),
                "'trainable_token_indices' is [1], which is not supported"},
        Refusal{"replication", minimal({{"layer_replication", {{0, 2}}}}),
                "'layer_replication' is [[0,2]], which is not supported"},
        Refusal{"alora", minimal({{"alora_invocation_tokens", {1}}}),
                "'alora_invocation_tokens' is [1], which is not supported"},
        Refusal{"qalora", minimal({{"use_qalora", true}}), "'use_qalora' is true, which is not supported"},
        Refusal{"transposed", minimal({{"fan_in_fan_out", true}}),
                "'fan_in_fan_out' is true, which is not supported"},
        Refusal{"future", minimal({{"use_something_new", true}}),
                "'use_something_new' is true, which is not supported"},
        Refusal{"pissa", minimal({{"init_lora_weights", "pissa_niter_4"}}),
                "'init_lora_weights' is \"pissa_niter_4\", which changes the base's weights; convert the "
                "adapter to plain "
                "LoRA first"},
        Refusal{"other_method", minimal({{"peft_type", "IA3"}}),
                "'peft_type' is \"IA3\"; only LORA is supported"},
        Refusal{"no_method",
                {{"target_modules", {"q_proj"}}},
                "the file's value has no 'peft_type': it is not a PEFT adapter configuration"},
        Refusal{"no_targets", {{"peft_type", "LORA"}}, "the file's value has no 'target_modules'"},
        Refusal{"empty_targets", minimal({{"target_modules", json::array()}}),
                "'target_modules' names no module"},
        Refusal{"number_targets", minimal({{"target_modules", 3}}),
                "'target_modules' must be a string, not 3"},
        Refusal{"rank_zero", minimal({{"r", 0}}), "'r' must be from 1 to 2147483647, not 0"},
        Refusal{"rank_negative", minimal({{"r", -8}}), "'r' must be from 1 to 2147483647, not -8"},
        Refusal{"rank_huge", minimal({{"r", 2147483648}}),
                "'r' must be from 1 to 2147483647, not 2147483648"},
        Refusal{"rank_fraction", minimal({{"r", 8.5}}), "'r' must be a whole number, not 8.5"},
        Refusal{"alpha_text", minimal({{"lora_alpha", "16"}}), "'lora_alpha' must be a number, not \"16\""},
        Refusal{"dropout", minimal({{"lora_dropout", 1}}),
                "'lora_dropout' must be at least 0 and below 1, not 1"},
        Refusal{"rank_pattern", minimal({{"rank_pattern", {{"q", 0}}}}),
                "'rank_pattern.q' must be from 1 to 2147483647, not 0"},
        Refusal{"regex", minimal({{"target_modules", "q_proj("}}),
                "'target_modules': the regular expression 'q_proj(' is wrong at character 8: missing closing "
                "parenthesis"},
        Refusal{"pattern_regex", minimal({{"alpha_pattern", {{"[", 1}}}}),
                "'alpha_pattern': the regular expression '[' is wrong at character 2: missing terminating ] "
                "for character "
                "class"},
        Refusal{"layers_of_regex", minimal({{"target_modules", "q"}, {"layers_to_transform", {1}}}),
                "'layers_to_transform' needs 'target_modules' to be a list of names"},
        Refusal{"pattern_alone", minimal({{"layers_pattern", "h"}}),
                "'layers_pattern' needs 'layers_to_transform'"},
        Refusal{"negative_layer", minimal({{"layers_to_transform", {-1}}}),
                "'layers_to_transform[0]' must be from 0 to 2147483647, not -1"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(LoraConfig, UnsetAndHarmlessKeysAreFine) {
  EXPECT_NO_THROW(parse(minimal({{"use_dora", false},
                                 {"modules_to_save", json::array()},
                                 {"new_thing", nullptr},
                                 {"new_table", json::object()},
                                 {"init_lora_weights", "gaussian"},
                                 {"revision", "main"},
                                 {"peft_version", "0.9"},
                                 {"task_type", "SEQ_CLS"},
                                 {"megatron_core", "x"}})));
}

TEST(LoraConfig, NanIsNotJson) {
  EXPECT_EQ(error_text<FormatError>([] {
              LoraConfig::from_json(R"({"peft_type":"LORA","target_modules":["q"],"lora_alpha":NaN})",
                                    "c.json");
            }),
            "c.json: not valid JSON: parse error at line 1, column 57: syntax error while parsing value - "
            "invalid literal");
  LoraConfig config;
  config.alpha = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(error_text<AdapterError>([&] { config.validate(); }),
            "the adapter configuration: 'lora_alpha' must be a finite number, not nan");
}

TEST(LoraConfig, RunawayRegularExpressionsAreStopped) {
  LoraConfig config;
  config.target_modules = ModuleRegex("(a|a)*[bc]");
  EXPECT_EQ(error_text<AdapterError>([&] { config.targets(std::string(200, 'a')); }),
            "'target_modules': the regular expression '(a|a)*[bc]' cannot be matched against '" +
                std::string(120, 'a') + "...': match limit exceeded");
  config.target_modules = ModuleRegex(std::string(1000, '('));
  EXPECT_THAT(error_text<AdapterError>([&] { config.validate(); }),
              ::testing::HasSubstr("parentheses are too deeply nested"));
  config.target_modules = ModuleRegex(std::string(20'000, 'a'));
  EXPECT_THAT(error_text<AdapterError>([&] { config.validate(); }),
              ::testing::HasSubstr("is longer than 10000 bytes"));
}

TEST(LoraConfig, CommandLineTargets) {
  EXPECT_EQ(parse_target_modules("all-linear"), TargetModules(AllLinear{}));
  EXPECT_EQ(parse_target_modules("q_proj"), TargetModules(ModuleNames{"q_proj"}));
  EXPECT_EQ(parse_target_modules("q_proj,mlp.up_proj,"), TargetModules(ModuleNames{"q_proj", "mlp.up_proj"}));
  EXPECT_EQ(parse_target_modules(R"(.*\.(q|v)_proj)"), TargetModules(ModuleRegex(R"(.*\.(q|v)_proj)")));
  for (const char* empty : {"", ","}) {
    EXPECT_EQ(error_text<ArgumentError>([&] { parse_target_modules(empty); }),
              "target modules must be names separated by commas, a regular expression, or all-linear");
  }
}

}  // namespace
}  // namespace wick::testing
