#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "support/test_device.h"
#include "wick/eval.h"
#include "wick/model.h"
#include "wick/ops.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

/// Tiny random models in f16 files, and their logits by the float64 NumPy decoder of
/// tools/make_decoder_goldens.py, which agrees with Hugging Face transformers on the reference models.
class GoldenDecoder : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenDecoder()
      : directory_(std::filesystem::path(WICK_SOURCE_DIR) / "tests" / "golden" / "data" / GetParam()),
        expected_file_(Safetensors::open(directory_ / "expected.safetensors")) {
    const TensorInfo& ids = expected_file_.at("input_ids");
    ids_ = Tensor::view_of(ids.bytes, ids.shape, ids.dtype, ids.owner);
    const TensorInfo& logits = expected_file_.at("logits");
    expected_ = Tensor::view_of(logits.bytes, logits.shape, logits.dtype, logits.owner);
  }

  Model load() const { return Model::load(directory_, DType::f32, test::test_device()); }

  static float worst_difference(const Tensor& actual, const Tensor& expected) {
    EXPECT_EQ(actual.shape(), expected.shape());
    const std::vector<float> a = actual.to_vector<float>();
    const std::vector<float> e = expected.to_vector<float>();
    float worst = 0;
    for (std::size_t i = 0; i < std::min(a.size(), e.size()); ++i) {
      const float difference = std::fabs(a[i] - e[i]);
      worst = difference <= worst ? worst : difference;  // a NaN counts
    }
    return worst;
  }

  std::filesystem::path directory_;
  Safetensors expected_file_;
  Tensor ids_;
  Tensor expected_;
};

constexpr float tolerance = 2e-4f;

TEST_P(GoldenDecoder, LogitsMatchTheFloat64Decoder) {
  const Model model = load();
  ModelInput input;
  input.ids = ids_;
  EXPECT_LT(worst_difference(model.forward(input), expected_), tolerance);
}

// The same positions fed in pieces, the first longer than every window.
TEST_P(GoldenDecoder, LogitsThroughTheCacheMatchToo) {
  const Model model = load();
  KvCache cache = model.make_cache(ids_.dim(0), ids_.dim(1));
  for (std::int64_t at = 0; at < ids_.dim(1);) {
    const std::int64_t end = at == 0 ? 9 : std::min(at + 3, ids_.dim(1));
    ModelInput input;
    input.ids = slice(ids_, 1, at, end);
    input.cache = &cache;
    EXPECT_LT(worst_difference(model.forward(input), slice(expected_, 1, at, end)), tolerance);
    at = end;
  }
}

// What `save` writes is the same model: every configuration value that counts is written.
TEST_P(GoldenDecoder, ASavedCopyHasTheSameLogits) {
  const auto copy = std::filesystem::path(::testing::TempDir()) / (std::string("decoder-") + GetParam());
  load().save(copy);
  ModelInput input;
  input.ids = ids_;
  EXPECT_LT(worst_difference(Model::load(copy).forward(input), expected_), tolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenDecoder,
                         ::testing::Values("qwen3", "qwen3-biases-untied", "qwen2-window-by-layer",
                                           "mistral-window", "llama-biases", "llama-linear-rope",
                                           "llama3-older-keys", "llama-ungrouped"),
                         [](const auto& i) {
                           std::string name = i.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace wick
