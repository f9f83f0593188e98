#include "backend/cuda/runtime_module.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/runtime_compiler.h"

namespace wick::cuda {
namespace {

/// Threads that compile. They begin with the first task and end with the process, which waits for what they
/// are at and drops the rest.
class Workers {
 public:
  static Workers& instance() {
    static Workers& workers = *new Workers;  // never destroyed: others may prepare kernels until the very end
    static const struct Ending {
      ~Ending() { workers.end(); }
    } ending;
    return workers;
  }

  void add(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    tasks_.push_back(std::move(task));
    if (idle_ == 0 && threads_.size() < most_threads()) threads_.emplace_back([this] { work(); });
    changed_.notify_one();
  }

 private:
  static std::size_t most_threads() { return std::clamp(std::thread::hardware_concurrency(), 1u, 8u); }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      --idle_;
      if (ending_) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  void end() {
    std::vector<std::thread> threads;
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      threads.swap(threads_);
    }
    changed_.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

/// What CUDA forbids while this thread captures a graph, and loading a library may do, is allowed meanwhile.
class AllowWhileCapturing {
 public:
  AllowWhileCapturing() { exchange(); }
  ~AllowWhileCapturing() { exchange(); }
  AllowWhileCapturing(const AllowWhileCapturing&) = delete;
  AllowWhileCapturing& operator=(const AllowWhileCapturing&) = delete;

 private:
  void exchange() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// A compiled source. Libraries stay loaded: kernels of running graphs lie in them.
class Library {
 public:
  explicit Library(const std::string& binary) {
    const AllowWhileCapturing allow;
    check(cudaLibraryLoadData(&library_, binary.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
          "loading a compiled kernel");
  }
  cudaKernel_t kernel(const char* name) const {
    const AllowWhileCapturing allow;
    cudaKernel_t found = nullptr;
    check(cudaLibraryGetKernel(&found, library_, name), "finding a compiled kernel");
    return found;
  }

 private:
  cudaLibrary_t library_ = nullptr;
};

/// The binary of a source for one compute capability, made by whoever comes first: a worker, or who needs it.
class Job {
 public:
  Job(std::string source, int capability)
      : task_([source = std::move(source), capability] { return compile(source, capability); }),
        binary_(task_.get_future().share()) {}

  void run() {
    std::call_once(begun_, [this] { task_(); });
  }
  const std::string& binary() {
    run();
    return binary_.get();
  }

 private:
  std::once_flag begun_;
  std::packaged_task<std::string()> task_;
  std::shared_future<std::string> binary_;
};

class CompiledModule final : public RuntimeModule {
 public:
  explicit CompiledModule(std::string source) : source_(std::move(source)) {}

  std::shared_ptr<Job> begin(int capability) {
    std::lock_guard lock(mutex_);
    auto& job = jobs_[capability];
    if (!job) {
      job = std::make_shared<Job>(source_, capability);
      Workers::instance().add([job] { job->run(); });
    }
    return job;
  }

  cudaKernel_t kernel(const char* name) override {
    const int capability = compute_capability();
    const std::shared_ptr<Job> job = begin(capability);
    const std::string& binary = job->binary();
    std::lock_guard lock(mutex_);
    auto& library = libraries_[capability];
    if (!library) library = std::make_unique<Library>(binary);
    return library->kernel(name);
  }

 private:
  const std::string source_;
  std::mutex mutex_;
  std::map<int, std::shared_ptr<Job>> jobs_;  // by compute capability
  std::map<int, std::unique_ptr<Library>> libraries_;
};

/// The compute capability of the current GPU, or 0 where there is none.
int capability_here() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) return compute_capability();
  (void)cudaGetLastError();
  return 0;
}

}  // namespace

std::shared_ptr<RuntimeModule> RuntimeModule::of(const std::string& source) {
  static std::mutex mutex;
  static auto& modules =
      *new std::unordered_map<std::string, std::shared_ptr<CompiledModule>>;  // never destroyed
  std::shared_ptr<CompiledModule> module;
  {
    std::lock_guard lock(mutex);
    auto& found = modules[source];
    if (!found) found = std::make_shared<CompiledModule>(source);
    module = found;
  }
  if (const int capability = capability_here(); capability > 0) module->begin(capability);
  return module;
}

}  // namespace wick::cuda
