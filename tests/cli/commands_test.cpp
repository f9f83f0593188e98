#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "wick/model.h"
#include "wick/ops/elementwise.h"

namespace wick {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Cli, VersionAndHelp) {
  EXPECT_THAT(wick_command("--version").out, StartsWith("wick 0."));
  const CommandResult help = wick_command("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* name :
       {"train", "generate", "eval", "tokenize", "merge", "inspect", "devices", "completion"}) {
    EXPECT_THAT(help.out, HasSubstr(name));
    const CommandResult one = wick_command(std::string(name) + " --help");
    EXPECT_EQ(one.status, 0);
    EXPECT_THAT(one.out, HasSubstr("Example")) << name;
  }
}

TEST(Cli, AWrongCommandLineSaysWhatIsWrong) {
  const CommandResult none = wick_command("");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.error, StartsWith("wick: error: "));
  const CommandResult unknown = wick_command("generate --model x --prompt y --no-such-flag");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_THAT(unknown.error, HasSubstr("--no-such-flag"));
  EXPECT_THAT(unknown.error, HasSubstr("wick generate --help"));
  EXPECT_EQ(wick_command("generate --model x").status, 2);
}

TEST(Cli, AnUnknownDeviceListsWhatThereIs) {
  const CommandResult result = wick_command("generate --model x --prompt y --device tpu");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.error, "wick: error: there is no device \"tpu\" here; there is: cpu\n");
  EXPECT_EQ(wick_command("generate --model x --prompt y --device cuda").status, 1);
}

TEST(Cli, AMissingModelIsNamed) {
  const CommandResult result = wick_command("generate --model /no/such/model --prompt y");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, StartsWith("wick: error: "));
  EXPECT_THAT(result.error, HasSubstr("/no/such/model"));
}

TEST(Cli, BadSamplingFlagsAreRefused) {
  const std::string base = "generate --model " + quoted(bundled_model()) + " --prompt hello ";
  EXPECT_THAT(wick_command(base + "--temperature -1").error, HasSubstr("temperature"));
  EXPECT_THAT(wick_command(base + "--top-p 1.5").error, HasSubstr("top-p"));
  EXPECT_THAT(wick_command(base + "--max-tokens 0").error, HasSubstr("max_tokens"));
  EXPECT_EQ(wick_command(base + "--threads -3").status, 1);
}

TEST(Cli, WorkBeyondTheMemoryLimitIsRefusedWithTheNumbers) {
  const CommandResult result =
      wick_command("generate --model " + quoted(bundled_model()) + " --prompt hello --memory-limit 100KB");
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_THAT(result.error, StartsWith("wick: error: this evaluation plans "));
  EXPECT_THAT(result.error, HasSubstr("beyond the limit of 102400 bytes"));
}

TEST(Cli, ALossThatIsNotANumberIsAnError) {
  const auto directory = fresh_directory();
  Model model = Model::load(bundled_model());
  std::vector<float> norm = cast(model.parameter("model.norm.weight"), DType::f32).to_vector<float>();
  norm[0] = std::numeric_limits<float>::quiet_NaN();
  const auto count = static_cast<std::int64_t>(norm.size());
  model.set_parameter("model.norm.weight", cast(Tensor::from(norm, {count}), model.dtype()));
  model.save(directory);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(std::filesystem::path(bundled_model()) / file, directory / file);
  std::ofstream(directory / "data.jsonl") << "{\"text\": \"Mia went home.\"}\n";
  const CommandResult result = wick_command("eval --model " + quoted(directory.string()) + " --data " +
                                            quoted((directory / "data.jsonl").string()));
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_THAT(result.error, HasSubstr("data.jsonl is nan: a weight of the model is not finite"));
}

TEST(Cli, AnUnknownCommandIsNamed) {
  const CommandResult result = wick_command("frobnicate");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.error.find("there is no command 'frobnicate'"), std::string::npos) << result.error;
}

TEST(Cli, AnErrorWithStandardErrorClosedIsNoAbort) {
  EXPECT_EQ(wick_command("frobnicate 2>&-").status, 2);
  EXPECT_EQ(wick_command("inspect no-such-directory 2>&-").status, 1);
}

TEST(Cli, DevicesListsTheCpu) {
  EXPECT_THAT(wick_command("devices").out, StartsWith("cpu"));
  const json list = json::parse(wick_command("devices --json").out);
  EXPECT_EQ(list.at(0).at("device"), "cpu");
  EXPECT_GT(list.at(0).at("memory_bytes"), 0);
}

TEST(Cli, CompletionScriptsNameEveryCommandAndFlag) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = wick_command(std::string("completion ") + shell).out;
    EXPECT_THAT(script, HasSubstr("tokenize")) << shell;
    EXPECT_THAT(script, HasSubstr("grad-accumulation")) << shell;
  }
  EXPECT_EQ(std::system((quoted(WICK_BINARY) + " completion bash | bash -n").c_str()), 0);
  EXPECT_THAT(wick_command("completion tcsh").error, HasSubstr("bash, zsh, fish"));
  EXPECT_THAT(wick_command("man-page").out, StartsWith(".TH WICK 1"));
}

TEST(CliTokenize, ArgumentAndStandardInputAgree) {
  const std::string base = "tokenize --json --model " + quoted(bundled_model());
  const json argument = json::parse(wick_command(base + " 'Once upon a time'").out);
  const json standard_input = json::parse(wick_command(base + " <<'EOF'\nOnce upon a time\nEOF\n").out);
  EXPECT_EQ(argument.at("text"), "Once upon a time");
  EXPECT_EQ(standard_input.at("text"), "Once upon a time\n");
  EXPECT_GT(argument.at("ids").size(), 2u);
  const json bare = json::parse(wick_command(base + " --no-special 'Once upon a time'").out);
  EXPECT_LT(bare.at("ids").size(), argument.at("ids").size());
}

TEST(CliGenerate, JsonHasTheFieldsAndGreedyRepeats) {
  const std::string line =
      "generate --json --temperature 0 --max-tokens 20 --prompt 'Once upon a time' --model " +
      quoted(bundled_model());
  const json first = json::parse(wick_command(line).out);
  EXPECT_EQ(first.at("ids").size(), 20u);
  EXPECT_EQ(first.at("finish_reason"), "length");
  EXPECT_GT(first.at("peak_bytes"), 0);
  EXPECT_GT(first.at("tokens_per_second"), 0);
  EXPECT_THAT(first.at("text").get<std::string>(), StartsWith("Once upon a time"));
  EXPECT_EQ(first.at("text").get<std::string>(),
            "Once upon a time" + first.at("completion").get<std::string>());
  EXPECT_EQ(json::parse(wick_command(line + " --threads 1").out).at("ids"), first.at("ids"));
}

TEST(CliGenerate, SeedsDecideTheDraws) {
  const std::string line =
      "generate --json --max-tokens 30 --prompt 'Once upon a time' --model " + quoted(bundled_model());
  const auto ids = [&](const std::string& seed) {
    return json::parse(wick_command(line + " --seed " + seed).out).at("ids");
  };
  EXPECT_EQ(ids("1"), ids("1"));
  EXPECT_NE(ids("1"), ids("2"));
}

TEST(CliGenerate, StopTextsEndItAndAreLeftOut) {
  const std::string line =
      "generate --json --temperature 0 --max-tokens 40 --prompt 'Once upon a time' --model " +
      quoted(bundled_model());
  const std::string whole = json::parse(wick_command(line).out).at("completion");
  const std::string stop = whole.substr(10, 3);
  const json result = json::parse(wick_command(line + " --stop " + quoted(stop)).out);
  EXPECT_EQ(result.at("finish_reason"), "stop");
  EXPECT_EQ(result.at("completion").get<std::string>(), whole.substr(0, whole.find(stop)));
}

TEST(CliGenerate, PlainOutputIsTheText) {
  const std::string line =
      " --temperature 0 --max-tokens 12 --prompt 'Once upon a time' --model " + quoted(bundled_model());
  const json result = json::parse(wick_command("generate --json" + line).out);
  EXPECT_EQ(wick_command("generate" + line).out, result.at("text").get<std::string>() + "\n");
}

TEST(CliGenerate, WhatIsRefusedPrintsNothingOnStandardOutput) {
  for (const char* flags : {"--max-tokens 0", "--stop ''", "--top-p 1.5", "--seed -1"}) {
    const CommandResult result =
        wick_command("generate --model " + quoted(bundled_model()) + " --prompt Once " + flags);
    EXPECT_NE(result.status, 0) << flags;
    EXPECT_EQ(result.out, "") << flags;
    EXPECT_TRUE(result.error.starts_with("wick: error: ")) << result.error;
  }
}

TEST(CliInspect, SaysWhatAModelIs) {
  const json what = json::parse(wick_command("inspect --json " + quoted(bundled_model())).out);
  EXPECT_EQ(what.at("kind"), "model");
  EXPECT_GT(what.at("weights").at("parameters"), 500000);
  EXPECT_THAT(wick_command("inspect " + quoted(bundled_model())).out, HasSubstr("bf16"));
  EXPECT_THAT(wick_command("inspect /tmp").error, HasSubstr("neither a model"));
}

class CliTrain : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fresh_directory();
    std::ofstream data(directory_ / "train.jsonl");
    for (int i = 0; i < 24; ++i)
      data
          << json{{"prompt", "One day, Mia found a hat."}, {"completion", " LOG " + std::to_string(i)}}.dump()
          << "\n";
  }
  std::string base_line() const {
    return "train --model " + quoted(bundled_model()) + " --data " +
           quoted((directory_ / "train.jsonl").string()) + " --out " + quoted((directory_ / "out").string()) +
           " --batch-size 4 --seq-len 64 --rank 4 --seed 3 ";
  }
  std::filesystem::path directory_;
};

TEST_F(CliTrain, WritesAnAdapterThatOtherCommandsTake) {
  const CommandResult result = wick_command(base_line() + "--steps 6 --lr 2e-3 --json");
  ASSERT_EQ(result.status, 0) << result.error;
  std::istringstream lines(result.out);
  std::vector<json> steps;
  for (std::string line; std::getline(lines, line);) steps.push_back(json::parse(line));
  ASSERT_EQ(steps.size(), 6u);
  for (const json& s : steps)
    for (const char* key : {"step", "loss", "grad_norm", "lr", "tokens_per_second", "peak_bytes"})
      EXPECT_TRUE(s.contains(key)) << key;
  EXPECT_LT(steps.back().at("loss"), steps.front().at("loss"));
  const std::string out = quoted((directory_ / "out").string());
  const json what = json::parse(wick_command("inspect --json " + out).out);
  EXPECT_EQ(what.at("kind"), "adapter");
  EXPECT_EQ(what.at("config").at("r"), 4);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "out" / "metrics.csv"));
  EXPECT_TRUE(std::filesystem::exists(directory_ / "out" / "loss.svg"));

  const std::string data = " --data " + quoted((directory_ / "train.jsonl").string()) + " --json";
  const json before = json::parse(wick_command("eval --model " + quoted(bundled_model()) + data).out);
  const json after =
      json::parse(wick_command("eval --model " + quoted(bundled_model()) + " --adapter " + out + data).out);
  EXPECT_LT(after.at("loss"), before.at("loss"));
  EXPECT_EQ(after.at("tokens"), before.at("tokens"));

  const std::string merged = (directory_ / "merged").string();
  ASSERT_EQ(wick_command("merge --dtype f32 --model " + quoted(bundled_model()) + " --adapter " + out +
                         " --out " + quoted(merged))
                .status,
            0);
  const json merged_loss = json::parse(wick_command("eval --model " + quoted(merged) + data).out);
  // The base is bf16, so merging rounds each weight to 8 bits of mantissa.
  EXPECT_NEAR(merged_loss.at("loss"), after.at("loss"), 0.05);
  EXPECT_NE(wick_command("merge --model " + quoted(bundled_model()) + " --adapter " + out + " --out " +
                         quoted(merged))
                .status,
            0);
}

TEST_F(CliTrain, ResumeContinuesToTheSameBytes) {
  const auto read = [](const std::filesystem::path& file) {
    std::stringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  };
  ASSERT_EQ(wick_command(base_line() + "--steps 4 --threads 1").status, 0);
  const std::string straight = read(directory_ / "out" / "adapter_model.safetensors");
  std::filesystem::remove_all(directory_ / "out");
  ASSERT_EQ(wick_command(base_line() + "--steps 4 --save-every 1 --threads 1").status, 0);
  // Drop the last checkpoints and the result: as if it had been killed after step 2 or 3.
  std::filesystem::remove(directory_ / "out" / "adapter_model.safetensors");
  std::filesystem::remove_all(directory_ / "out" / "checkpoints" / "step-000004");
  const CommandResult resumed = wick_command(base_line() + "--steps 4 --save-every 1 --threads 1 --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.error;
  EXPECT_EQ(read(directory_ / "out" / "adapter_model.safetensors"), straight);
}

TEST_F(CliTrain, WrongFlagsAndDataAreNamed) {
  EXPECT_THAT(wick_command(base_line() + "--steps 1 --schedule exponential").error, HasSubstr("exponential"));
  EXPECT_THAT(wick_command(base_line() + "--steps 1 --target-modules nothing_like_it").error,
              HasSubstr("target_modules"));
  EXPECT_THAT(wick_command(base_line() + "--steps 1 --init-random").error, HasSubstr("--full"));
  std::ofstream(directory_ / "train.jsonl") << "{\"text\": \"fine\"}\n{\"txt\": 1}\n";
  const CommandResult bad = wick_command(base_line() + "--steps 1");
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.error, HasSubstr("train.jsonl:2"));
}

}  // namespace
}  // namespace wick
