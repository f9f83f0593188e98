#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "support/markup.h"

namespace wick {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string base_command() { return "explain --model " + quoted(bundled_model()) + " "; }

std::string content(const std::filesystem::path& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(CliExplain, ATrainingStepAsText) {
  const CommandResult result = wick_command(base_command() + "--batch-size 1 --seq-len 32 --rank 4");
  EXPECT_EQ(result.status, 0) << result.error;
  EXPECT_THAT(result.out, StartsWith("training step"));
  EXPECT_THAT(result.out, HasSubstr("gradient of model.layers.0/mlp"));
  EXPECT_THAT(result.out, HasSubstr("optimizer"));
}

TEST(CliExplain, TargetModulesAndRankSayWhatIsTrained) {
  const auto flops = [](const std::string& flags) {
    const CommandResult result =
        wick_command(base_command() + "--batch-size 1 --seq-len 32 --format json " + flags);
    EXPECT_EQ(result.status, 0) << result.error;
    return json::parse(result.out).at("flops").get<double>();
  };
  const double few = flops("--target-modules q_proj --rank 2");
  EXPECT_LT(few, flops("--target-modules q_proj --rank 16"));
  EXPECT_LT(few, flops("--target-modules all-linear --rank 2"));
  EXPECT_LT(few, flops("--full"));
}

TEST(CliExplain, EveryFormatOfEveryStep) {
  for (const char* what : {"train", "prefill", "decode"})
    for (const char* format : {"text", "json", "dot", "svg", "html"}) {
      const CommandResult result = wick_command(base_command() + "--seq-len 32 --batch-size 1 --what " +
                                                std::string(what) + " --format " + format);
      EXPECT_EQ(result.status, 0) << what << " " << format << ": " << result.error;
      EXPECT_THAT(result.out, HasSubstr("model.layers.0")) << what << " " << format;
    }
}

TEST(CliExplain, ThePageIsWrittenToAFile) {
  const auto directory = fresh_directory();
  const auto file = directory / "step.html";
  const CommandResult result = wick_command(
      base_command() + "--seq-len 32 --batch-size 1 --format html --out " + quoted(file.string()));
  EXPECT_EQ(result.status, 0) << result.error;
  EXPECT_TRUE(result.out.empty());
  const std::string page = content(file);
  test::expect_balanced(page);
  test::expect_self_contained(page);
}

TEST(CliExplain, AConfigurationAloneIsEnough) {
  const auto directory = fresh_directory();
  std::filesystem::copy_file(bundled_model() + "/config.json", directory / "config.json");
  const CommandResult result =
      wick_command("explain --model " + quoted(directory.string()) + " --what decode");
  EXPECT_EQ(result.status, 0) << result.error;
  EXPECT_THAT(result.out, HasSubstr("lm_head"));
}

TEST(CliExplain, WrongFlagsAreNamed) {
  EXPECT_EQ(wick_command(base_command() + "--format png").error,
            "wick: error: --format: \"png\" is not one of text, json, dot, svg, html\n");
  EXPECT_EQ(wick_command(base_command() + "--what dream").error,
            "wick: error: --what: \"dream\" is not one of train, prefill, decode\n");
  EXPECT_THAT(wick_command(base_command() + "--seq-len 100000").error, HasSubstr("do not fit the model's"));
  for (const char* none : {"--seq-len 0", "--batch-size 0", "--batch-size -1"})
    EXPECT_THAT(wick_command(base_command() + none).error, HasSubstr("must be at least 1")) << none;
  EXPECT_THAT(wick_command(base_command() + "--what decode --full").error,
              HasSubstr("--full makes sense with"));
  const auto directory = fresh_directory();
  const CommandResult result = wick_command("explain --model " + quoted(directory.string()));
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, HasSubstr("config.json"));
}

TEST(CliExplain, IsInTheHelpTheCompletionAndTheManualPage) {
  EXPECT_THAT(wick_command("--help").out, HasSubstr("explain"));
  EXPECT_THAT(wick_command("explain --help").out, HasSubstr("Example"));
  for (const char* shell : {"bash", "zsh", "fish"})
    EXPECT_THAT(wick_command(std::string("completion ") + shell).out, HasSubstr("explain"));
  const std::string page = wick_command("man-page").out;
  EXPECT_THAT(page, HasSubstr("wick explain"));
  EXPECT_THAT(page, HasSubstr("check\\-numerics"));
}

}  // namespace
}  // namespace wick
