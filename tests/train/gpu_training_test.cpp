#include <gtest/gtest.h>

#include <cmath>

#include "support/test_device.h"
#include "train/train_step.h"
#include "train/training_harness.h"
#include "wick/eval.h"
#include "wick/trainer.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

/// The same model and adapter on the CPU and on the GPU.
class GpuTraining : public ::testing::Test {
 protected:
  void SetUp() override {
    WICK_NEEDS_GPU();
    const Model made = Model::random(tiny_model().config(), 1);
    made.save(directory_.path() / "model");
    tiny_adapter(made).save(directory_.path() / "adapter");
  }
  Model model_on(Device device) const { return Model::load(directory_.path() / "model", DType::f32, device); }
  LoraAdapter adapter_for(const Model& model) const {
    return LoraAdapter::load(directory_.path() / "adapter", model);
  }
  static void expect_same(const LoraAdapter& a, const LoraAdapter& b, double tolerance) {
    const auto left = a.parameters();
    const auto right = b.parameters();
    for (std::size_t i = 0; i < left.size(); ++i) {
      const auto x = left[i].second.to_vector<float>();
      const auto y = right[i].second.to_vector<float>();
      for (std::size_t k = 0; k < x.size(); ++k)
        ASSERT_NEAR(x[k], y[k], tolerance) << left[i].first << " " << k;
    }
  }
  const Device gpu_ = test::first_gpu();
  TemporaryDirectory directory_;
};

/// f32 sums in another order; AdamW divides by roots of small numbers, which magnifies the differences.
constexpr double loss_tolerance = 1e-5;
constexpr double parameter_tolerance = 1e-4;

TEST_F(GpuTraining, AgreesWithTheCpuStepForStep) {
  Model host = model_on(cpu);
  Model device = model_on(gpu_);
  LoraAdapter host_adapter = adapter_for(host);
  LoraAdapter device_adapter = adapter_for(device);
  TrainStep on_host(host, &host_adapter, {});
  TrainStep on_device(device, &device_adapter, {});
  const Dataset data = tiny_data(40);
  Batches batches(data, {.batch_size = 4, .seq_len = 40, .shuffle = true});
  for (int step = 0; step < 10; ++step) {
    const std::vector<BatchTensors> batch{BatchTensors(batches.next())};
    const auto a = on_host.run(batch, step, 1e-3);
    const auto b = on_device.run(batch, step, 1e-3);
    EXPECT_NEAR(a.loss, b.loss, loss_tolerance * std::abs(a.loss)) << step;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 10 * loss_tolerance * a.grad_norm) << step;
  }
  expect_same(host_adapter, device_adapter, parameter_tolerance);
}

TEST_F(GpuTraining, ACheckpointOfOneResumesOnTheOther) {
  for (const auto& [first, second] : {std::pair{cpu, gpu_}, std::pair{gpu_, cpu}}) {
    const fs::path out = directory_.path() / ("from_" + std::string(first == cpu ? "cpu" : "gpu"));
    const Dataset data = tiny_data(30);
    const auto train_on = [&](Device device, const fs::path& where, std::int64_t stop_after, bool resume) {
      Model model = model_on(device);
      LoraAdapter adapter = adapter_for(model);
      TrainOptions options = tiny_options(where, 10);
      options.resume = resume;
      std::atomic<bool> stop = false;
      TrainCallbacks callbacks;
      callbacks.stop = &stop;
      callbacks.on_step = [&](const StepMetrics& m) { stop = m.step >= stop_after; };
      (void)train(model, &adapter, data, nullptr, options, callbacks);
      return adapter;
    };
    train_on(first, out, 5, false);
    const LoraAdapter resumed = train_on(second, out, 100, true);
    const LoraAdapter whole =
        train_on(cpu, directory_.path() / ("whole_" + std::to_string(first == cpu)), 100, false);
    // The learning rate of these options is ten times that of the test above.
    expect_same(resumed, whole, 10 * parameter_tolerance);
  }
}

}  // namespace
}  // namespace wick
