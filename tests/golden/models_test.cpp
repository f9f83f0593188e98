#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "golden/reference.h"
#include "support/test_device.h"
#include "wick/eval.h"
#include "wick/generate.h"
#include "wick/model.h"
#include "wick/ops.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

template <typename T>
std::vector<T> elements(const TensorInfo& info) {
  std::vector<T> out(info.bytes.size() / sizeof(T));
  std::memcpy(out.data(), info.bytes.data(), info.bytes.size());
  return out;
}

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path model_directory() const { return reference_directory() / "models" / GetParam(); }
  std::filesystem::path golden(const std::string& suffix) const {
    return reference_directory() / "golden" / GetParam() / (std::string(GetParam()) + suffix);
  }
};

// Logits were computed in float64 by transformers; f32 accumulation stays below 2e-4.
TEST_P(GoldenModel, LogitsMatchHuggingFace) {
  WICK_NEEDS_REFERENCE();
  const Model model = Model::load(model_directory(), {}, test::test_device());
  const Safetensors file = Safetensors::open(golden("_logits.safetensors"));
  const TensorInfo& ids = file.at("input_ids");
  const std::vector<float> expected = elements<float>(file.at("logits"));
  ModelInput input;
  input.ids = Tensor::view_of(ids.bytes, ids.shape, ids.dtype, ids.owner);
  const std::vector<float> logits = model.forward(input).to_vector<float>();
  ASSERT_EQ(logits.size(), expected.size());
  float worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) worst = std::max(worst, std::fabs(logits[i] - expected[i]));
  EXPECT_LT(worst, 2e-4f);
}

// The same positions fed in pieces through the cache.
TEST_P(GoldenModel, LogitsThroughTheCacheMatchToo) {
  WICK_NEEDS_REFERENCE();
  const Model model = Model::load(model_directory(), {}, test::test_device());
  const Safetensors file = Safetensors::open(golden("_logits.safetensors"));
  const TensorInfo& info = file.at("input_ids");
  const std::vector<float> expected = elements<float>(file.at("logits"));
  const Tensor ids = Tensor::view_of(info.bytes, info.shape, info.dtype, info.owner);
  const std::int64_t batch = ids.dim(0);
  const std::int64_t length = ids.dim(1);
  const std::int64_t vocab = model.config().vocab_size;
  KvCache cache = model.make_cache(batch, length);
  float worst = 0;
  for (std::int64_t at = 0; at < length;) {
    const std::int64_t piece = std::min<std::int64_t>(at == 0 ? 17 : 1, length - at);
    ModelInput input;
    input.ids = slice(ids, 1, at, at + piece);
    input.cache = &cache;
    const std::vector<float> logits = model.forward(input).to_vector<float>();
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t i = 0; i < piece * vocab; ++i)
        worst = std::max(worst, std::fabs(logits[static_cast<std::size_t>(b * piece * vocab + i)] -
                                          expected[static_cast<std::size_t>((b * length + at) * vocab + i)]));
    at += piece;
  }
  EXPECT_EQ(cache.length, length);
  EXPECT_LT(worst, 2e-4f);
}

TEST_P(GoldenModel, GreedyIdsAndTextAreEqual) {
  WICK_NEEDS_REFERENCE();
  const Model model = Model::load(model_directory(), {}, test::test_device());
  const Tokenizer tokenizer = Tokenizer::from_directory(model_directory());
  const nlohmann::json cases = nlohmann::json::parse(std::ifstream(golden("_greedy.json")));
  for (const auto& c : cases) {
    GenerateOptions options;
    options.sampling.temperature = 0;
    const auto expected = c["greedy_ids"].get<std::vector<std::int32_t>>();
    options.max_tokens = static_cast<std::int64_t>(expected.size());
    std::string streamed;
    const Generation result = generate(model, tokenizer, c["prompt"].get<std::string>(), options, nullptr,
                                       [&](const GeneratedToken& token) {
                                         streamed += token.text;
                                         return true;
                                       });
    EXPECT_EQ(result.prompt_ids, c["prompt_ids"].get<std::vector<std::int32_t>>());
    EXPECT_EQ(result.ids, expected);
    EXPECT_EQ(result.text, c["text"].get<std::string>());
    EXPECT_EQ(result.completion, streamed);
  }
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenModel,
                         ::testing::Values("stories260k", "tiny-qwen2", "tiny-llama3", "tiny-mistral"),
                         [](const auto& i) {
                           std::string name = i.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

TEST(GoldenAdapter, APeftDirectorySurvivesARoundTrip) {
  WICK_NEEDS_REFERENCE();
  for (const char* run : {"lora_stories260k_qv_r8", "lora_tiny-qwen2_all_r4"}) {
    const auto directory = reference_directory() / "golden" / run / "adapter_final";
    const Model model =
        Model::load(reference_directory() / "models" /
                    (std::string(run).find("qwen2") != std::string::npos ? "tiny-qwen2" : "stories260k"));
    const auto copy = std::filesystem::path(::testing::TempDir()) / run;
    LoraAdapter::load(directory, model).save(copy);
    const Safetensors before = Safetensors::open(directory / "adapter_model.safetensors");
    const Safetensors after = Safetensors::open(copy / "adapter_model.safetensors");
    ASSERT_EQ(before.tensors().size(), after.tensors().size());
    for (const TensorInfo& t : before.tensors()) {
      const TensorInfo& u = after.at(t.name);
      EXPECT_EQ(t.dtype, u.dtype);
      EXPECT_EQ(t.shape, u.shape);
      EXPECT_TRUE(std::equal(t.bytes.begin(), t.bytes.end(), u.bytes.begin(), u.bytes.end())) << t.name;
    }
    EXPECT_EQ(LoraConfig::from_file(directory / "adapter_config.json"),
              LoraConfig::from_file(copy / "adapter_config.json"));
    nlohmann::json old_config = nlohmann::json::parse(std::ifstream(directory / "adapter_config.json"));
    nlohmann::json new_config = nlohmann::json::parse(std::ifstream(copy / "adapter_config.json"));
    for (nlohmann::json* config : {&old_config, &new_config}) {  // PEFT does not keep the order of this list
      auto& modules = (*config)["target_modules"];
      std::sort(modules.begin(), modules.end());
    }
    EXPECT_EQ(old_config, new_config);
  }
}

}  // namespace
}  // namespace wick
