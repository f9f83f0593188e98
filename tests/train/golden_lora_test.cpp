// LoRA runs of Hugging Face PEFT, number by number.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "support/test_device.h"
#include "train/train_step.h"
#include "train/training_harness.h"
#include "wick/eval.h"
#include "wick/safetensors.h"
#include "wick/trainer.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

fs::path reference_directory() {
  const char* variable = std::getenv("WICK_REFERENCE_DIR");
  return variable ? fs::path(variable) : fs::path(WICK_SOURCE_DIR "/../shared/reference");
}

std::vector<float> floats(const Safetensors& file, const std::string& name) {
  const TensorInfo& info = file.at(name);
  return Tensor::from_bytes(info.bytes, info.shape, info.dtype).to_vector<float>();
}

class GoldenLora : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    run_ = reference_directory() / "golden" / GetParam();
    if (!fs::exists(run_)) GTEST_SKIP() << "the reference run " << run_ << " is absent";
    trace_ = nlohmann::json::parse(read_text(run_ / "trace.json"));
    model_ = Model::load(reference_directory() / "models" / trace_["base"].get<std::string>(), DType::f32,
                         test::test_device());
    adapter_ = LoraAdapter::load(run_ / "adapter_init", *model_);
    data_ = Dataset::load(run_ / "batches.safetensors", {});
    options_.steps = trace_["steps"];
    options_.learning_rate = trace_["lr"];
    options_.schedule = "constant";
    options_.adamw = {trace_["betas"][0], trace_["betas"][1], trace_["eps"], trace_["weight_decay"]};
    options_.max_grad_norm = trace_["max_grad_norm"];
    options_.shuffle = false;
    options_.out = directory_.path();
  }

  TemporaryDirectory directory_;
  fs::path run_;
  nlohmann::json trace_;
  std::optional<Model> model_;
  std::optional<LoraAdapter> adapter_;
  std::optional<Dataset> data_;
  TrainOptions options_;
};

TEST_P(GoldenLora, FirstGradientsAgree) {
  Batches batches(*data_, {.shuffle = false});
  const BatchTensors first(batches.next());
  TrainStep step(*model_, &*adapter_, {});
  const auto [loss, gradients] = step.loss_and_gradients(std::span(&first, 1), 0);
  const Safetensors expected = Safetensors::open(run_ / "grads_step0.safetensors");
  EXPECT_EQ(expected.tensors().size(), gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const std::string& name = step.trainables().names()[i];
    const std::vector<float> theirs = floats(expected, name);
    const std::vector<float> ours = gradients[i].to_vector<float>();
    ASSERT_EQ(theirs.size(), ours.size());
    float largest = 0;
    for (float g : theirs) largest = std::max(largest, std::abs(g));
    // rtol 1e-4. Small elements are differences of terms as large as the largest: against float64, f32 is off
    // by up to 6e-6 of the largest here, and the reference, which is f32 too, by 1e-6.
    for (std::size_t k = 0; k < ours.size(); ++k)
      EXPECT_NEAR(ours[k], theirs[k], 1e-4 * std::abs(theirs[k]) + 1e-5 * largest) << name << " " << k;
  }
}

TEST_P(GoldenLora, EveryLossAndTheFinalAdapterAgree) {
  std::vector<StepMetrics> steps;
  TrainCallbacks callbacks;
  callbacks.on_step = [&](const StepMetrics& metrics) { steps.push_back(metrics); };
  train(*model_, &*adapter_, *data_, nullptr, options_, callbacks);

  const auto& single = trace_["trace"]["float32"];
  const auto& twice = trace_["trace"]["float64"];
  ASSERT_EQ(steps.size(), single["loss"].size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double loss32 = single["loss"][i];
    const double loss64 = twice["loss"][i];
    EXPECT_NEAR(steps[i].loss, loss64, std::max(1e-4, 3 * std::abs(loss32 - loss64))) << "step " << i;
    const double norm = twice["grad_norm"][i];
    EXPECT_NEAR(steps[i].grad_norm, norm, 1e-4 * norm) << "step " << i;
    EXPECT_EQ(steps[i].learning_rate, 1e-3);
  }

  const Safetensors ours = Safetensors::open(directory_.path() / "adapter_model.safetensors");
  const Safetensors theirs = Safetensors::open(run_ / "adapter_final" / "adapter_model.safetensors");
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  double worst = 0;
  for (const TensorInfo& info : theirs.tensors()) {
    const std::vector<float> a = floats(ours, info.name);
    const std::vector<float> b = floats(theirs, info.name);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t k = 0; k < a.size(); ++k)
      worst = std::max(worst, static_cast<double>(std::abs(a[k] - b[k])));
  }
  EXPECT_LT(worst, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Runs, GoldenLora,
                         ::testing::Values("lora_stories260k_qv_r8", "lora_tiny-qwen2_all_r4"),
                         [](const auto& run) { return std::to_string(run.index); });

}  // namespace
}  // namespace wick
