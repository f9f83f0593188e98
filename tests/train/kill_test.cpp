// SIGKILL at any moment of training leaves checkpoints that are complete.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "train/checkpoint.h"
#include "train/training_harness.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

constexpr const char* out_variable = "WICK_KILL_TEST_OUT";
constexpr const char* steps_variable = "WICK_KILL_TEST_STEPS";

void train_worker(const fs::path& out, std::int64_t steps) {
  Model model = tiny_model();
  LoraAdapter adapter = tiny_adapter(model);
  TrainOptions options = tiny_options(out, steps);
  options.save_every = 1;
  options.resume = fs::exists(out / "checkpoints") && !CheckpointStore(out / "checkpoints").steps().empty();
  train(model, &adapter, tiny_data(5), nullptr, options);
}

/// Makes this program a trainer when it was started as one. A fork alone would not do: threads of the test
/// program's pools do not exist in the child.
class WorkerProcess : public ::testing::Environment {
 public:
  void SetUp() override {
    const char* out = std::getenv(out_variable);
    if (!out) return;
    try {
      train_worker(out, std::atoll(std::getenv(steps_variable)));
    } catch (const std::exception& e) {
      std::fprintf(stderr, "the trainer ended: %s\n", e.what());
      std::_Exit(1);
    }
    std::_Exit(0);
  }
};
[[maybe_unused]] const auto* const worker_process = ::testing::AddGlobalTestEnvironment(new WorkerProcess);

pid_t start_worker(const fs::path& out, std::int64_t steps) {
  const std::string out_setting = std::string(out_variable) + "=" + out.string();
  const std::string steps_setting = std::string(steps_variable) + "=" + std::to_string(steps);
  std::vector<char*> environment;
  for (char** entry = environ; *entry; ++entry) environment.push_back(*entry);
  environment.push_back(const_cast<char*>(out_setting.c_str()));
  environment.push_back(const_cast<char*>(steps_setting.c_str()));
  environment.push_back(nullptr);
  std::string program = "/proc/self/exe";
  char* const arguments[] = {program.data(), nullptr};
  const pid_t child = ::fork();
  if (child == 0) {
    ::execve(program.c_str(), arguments, environment.data());
    std::_Exit(127);
  }
  return child;
}

TEST(Kill, EverySurvivorLoads) {
  const TemporaryDirectory directory;
  const fs::path out = directory.path() / "out";
  constexpr std::int64_t endless = 1'000'000;
  std::mt19937 generator(4);
  std::int64_t last = 0;
  // At least 20 kills of a trainer that had begun to save.
  for (int kills = 0; kills < 20;) {
    const pid_t child = start_worker(out, endless);
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(generator() % 400));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the trainer ended by itself";

    const CheckpointStore store(out / "checkpoints");
    const std::vector<std::int64_t> steps = store.steps();
    for (std::int64_t step : steps) ASSERT_NO_THROW(store.verify(step));
    const std::int64_t newest = steps.empty() ? 0 : steps.back();
    ASSERT_GE(newest, last);
    if (newest > last) ++kills;
    last = newest;
  }
  // And training goes on from there to its end.
  int status = 0;
  ::waitpid(start_worker(out, last + 2), &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(fs::exists(out / "adapter_model.safetensors"));
}

}  // namespace
}  // namespace wick
