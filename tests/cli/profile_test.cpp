#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/command.h"

namespace wick {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string generate_command() {
  return "generate --model " + quoted(bundled_model()) +
         " --prompt \"One day\" --max-tokens 4 --temperature 0 ";
}

bool has_step(const json& trace) {
  const json& events = trace.at("traceEvents");
  return std::any_of(events.begin(), events.end(),
                     [](const json& event) { return event.value("cat", "") == "step"; });
}

TEST(CliProfile, WritesATraceAndASummaryAndLeavesTheOutputAlone) {
  const auto directory = fresh_directory();
  const CommandResult plain = wick_command(generate_command());
  const CommandResult result =
      wick_command(generate_command() + "--profile " + quoted((directory / "trace.json").string()));
  EXPECT_EQ(result.status, 0) << result.error;
  EXPECT_EQ(result.out, plain.out);
  EXPECT_THAT(result.error, HasSubstr("steps by op"));
  EXPECT_THAT(result.error, HasSubstr("of floor"));
  EXPECT_TRUE(has_step(json::parse(std::ifstream(directory / "trace.json"))));
}

TEST(CliProfile, IsWrittenWhenTheCommandFails) {
  const auto directory = fresh_directory();
  const CommandResult result = wick_command(generate_command() + "--memory-limit 100KB --profile " +
                                            quoted((directory / "trace.json").string()));
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, HasSubstr("beyond the limit of 102400 bytes"));
  EXPECT_TRUE(json::parse(std::ifstream(directory / "trace.json")).contains("traceEvents"));
}

TEST(CliProfile, AFileThatCannotBeWrittenIsRefusedBeforeTheWork) {
  const CommandResult result = wick_command(generate_command() + "--profile /no/such/directory/trace.json");
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_EQ(result.error, "wick: error: --profile: there is no directory /no/such/directory\n");
}

TEST(CliCheckNumerics, ChangesNothingWhereAllIsFinite) {
  const CommandResult plain = wick_command(generate_command());
  const CommandResult checked = wick_command(generate_command() + "--check-numerics");
  EXPECT_EQ(checked.status, 0) << checked.error;
  EXPECT_EQ(checked.out, plain.out);
}

TEST(CliCheckNumerics, NamesTheOpThatADivergingTrainingFailsIn) {
  const auto directory = fresh_directory();
  std::ofstream(directory / "data.jsonl") << "{\"text\": \"One day a cat sat on a mat.\"}\n";
  const CommandResult result = wick_command(
      "train --model " + quoted(bundled_model()) + " --data " + quoted((directory / "data.jsonl").string()) +
      " --out " + quoted((directory / "run").string()) + " --steps 3 --lr 1e30 --check-numerics");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, StartsWith("wick: error: "));
  EXPECT_THAT(result.error, HasSubstr("is the first op to give NaN or infinity"));
  EXPECT_THAT(result.error, HasSubstr("operand 0: "));
  EXPECT_THAT(result.error, HasSubstr("in model.layers.0/"));
}

}  // namespace
}  // namespace wick
