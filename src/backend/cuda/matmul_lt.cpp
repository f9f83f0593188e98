#include "backend/cuda/matmul_lt.h"

#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/binary_cache.h"
#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/measure.h"
#include "wick/device.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

void check_lt(cublasStatus_t status, const char* doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(fmt::format("cuBLASLt failed in {}: {}", doing, cublasLtGetStatusString(status)));
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f16: return CUDA_R_16F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::f64: return CUDA_R_64F;
    default: return CUDA_R_32F;
  }
}

/// Everything that decides on an algorithm, as numbers; `alignments` in bytes, of a, b and c.
using Key = std::array<std::int64_t, 22>;
using Alignments = std::array<unsigned, 3>;

Key key_of(const LtProblem& p, const Alignments& alignments) {
  const auto number = [](DType dtype) { return static_cast<std::int64_t>(dtype); };
  return {p.m,
          p.n,
          p.k,
          p.a.row,
          p.a.column,
          p.b.row,
          p.b.column,
          p.batch,
          p.a_step,
          p.b_step,
          number(p.input),
          number(p.output),
          p.bias,
          p.accumulate,
          p.tf32,
          alignments[0],
          alignments[1],
          alignments[2],
          p.most_workspace,
          p.adds,
          static_cast<std::int64_t>(p.activation),
          p.c_row};
}

using Choice = std::optional<cublasLtMatmulAlgo_t>;  // nothing: there is no algorithm

/// cuBLASLt on one GPU and what was chosen there.
struct Library {
  Library() { check_lt(cublasLtCreate(&handle), "starting"); }

  std::mutex mutex;  // a handle is used by one thread at a time
  cublasLtHandle_t handle = nullptr;
  std::map<Key, Choice> choices;
};

/// That of the current GPU; never destroyed, because the driver may be gone when static objects are.
Library& library() {
  static std::mutex mutex;
  static auto& libraries = *new std::array<std::unique_ptr<Library>, most_gpus>;
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current GPU");
  std::lock_guard lock(mutex);
  auto& found = libraries[static_cast<std::size_t>(device)];
  if (!found) found = std::make_unique<Library>();
  return *found;
}

/// The largest power of two up to 16 that an address is a multiple of.
unsigned alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 16u;
  return static_cast<unsigned>(bits & (~bits + 1));
}

struct Pointers {
  Alignments alignments() const {
    return {alignment_of(a), alignment_of(b), std::min(alignment_of(added), alignment_of(c))};
  }

  const void* a;
  const void* b;
  const void* added;  // c itself where nothing else is
  void* c;
  void* workspace;
  std::size_t workspace_bytes;
};

class MatrixLayout {
 public:
  MatrixLayout(DType dtype, const LtMatrix& matrix, std::int64_t batch, std::int64_t step) {
    check_lt(cublasLtMatrixLayoutInit(&layout_, data_type(dtype), static_cast<std::uint64_t>(matrix.rows),
                                      static_cast<std::uint64_t>(matrix.columns), matrix.stride),
             "describing a matrix");
    if (batch == 1) return;
    const auto count = static_cast<std::int32_t>(batch);
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count);
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, step);
  }
  cublasLtMatrixLayout_t get() { return &layout_; }

 private:
  template <typename T>
  void set(cublasLtMatrixLayoutAttribute_t attribute, const T& value) {
    check_lt(cublasLtMatrixLayoutSetAttribute(&layout_, attribute, &value, sizeof value),
             "describing a matrix");
  }
  cublasLtMatrixLayoutOpaque_t layout_{};
};

cublasLtEpilogue_t epilogue_of(const LtProblem& p) {
  if (p.activation == Activation::gelu_tanh)
    return p.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

/// A problem in cuBLASLt's terms: its left operand is our right one.
class Descriptors {
 public:
  Descriptors(const LtProblem& p, const void* bias)
      : left_(LtMatrix::of(p.k, p.n, p.b)),
        right_(LtMatrix::of(p.m, p.k, p.a)),
        a_(p.input, left_, p.batch, p.b_step),
        b_(p.input, right_, p.batch, p.a_step),
        c_(p.output, {p.n, p.m, p.c_row > 0 ? p.c_row : p.n, false}, p.batch, p.m * p.n),
        in_f64_(p.input == DType::f64),
        beta_(p.accumulate || p.adds ? 1 : 0) {
    cublasComputeType_t compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    if (in_f64_) compute = CUBLAS_COMPUTE_64F;
    check_lt(cublasLtMatmulDescInit(&product_, compute, in_f64_ ? CUDA_R_64F : CUDA_R_32F),
             "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, left_.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, right_.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.bias) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(p.output));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
  }

  /// The library's proposals, the best by its own estimate first.
  std::vector<cublasLtMatmulAlgo_t> proposals(cublasLtHandle_t handle, const Pointers& pointers) {
    const Alignments alignments = pointers.alignments();
    cublasLtMatmulPreferenceOpaque_t preference{};
    check_lt(cublasLtMatmulPreferenceInit(&preference), "stating a preference");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check_lt(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value),
               "stating a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(pointers.workspace_bytes));
    // Neither sums in place, in the order in which blocks come, nor sums of rounded parts.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(alignments[1]));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(alignments[0]));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(alignments[2]));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(alignments[2]));
    std::array<cublasLtMatmulHeuristicResult_t, most_proposals> results{};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, &product_, a_.get(), b_.get(), c_.get(), c_.get(), &preference,
                                       most_proposals, results.data(), &found);
    std::vector<cublasLtMatmulAlgo_t> list;
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return list;
    check_lt(status, "choosing an algorithm");
    for (int i = 0; i < found; ++i) {
      const auto& result = results[static_cast<std::size_t>(i)];
      if (result.state == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= pointers.workspace_bytes)
        list.push_back(result.algo);
    }
    return list;
  }

  /// Whether bytes from a file are an algorithm for this product.
  bool takes(cublasLtHandle_t handle, std::string_view bytes, const Pointers& p) {
    cublasLtMatmulAlgo_t algorithm;
    if (bytes.size() != sizeof algorithm) return false;
    std::memcpy(&algorithm, bytes.data(), sizeof algorithm);
    cublasLtMatmulHeuristicResult_t result{};
    return cublasLtMatmulAlgoCheck(handle, &product_, a_.get(), b_.get(), c_.get(), c_.get(), &algorithm,
                                   &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= p.workspace_bytes;
  }

  cublasStatus_t launch(cublasLtHandle_t handle, const Pointers& p, const cublasLtMatmulAlgo_t& algorithm,
                        cudaStream_t stream) {
    const float one = 1;
    const auto beta = static_cast<float>(beta_);
    const double one_f64 = 1;
    return cublasLtMatmul(handle, &product_, in_f64_ ? static_cast<const void*>(&one_f64) : &one, p.b,
                          a_.get(), p.a, b_.get(), in_f64_ ? static_cast<const void*>(&beta_) : &beta,
                          p.added, c_.get(), p.c, c_.get(), &algorithm, p.workspace, p.workspace_bytes,
                          stream);
  }

 private:
  static constexpr int most_proposals = 8;

  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check_lt(cublasLtMatmulDescSetAttribute(&product_, attribute, &value, sizeof value),
             "describing a product");
  }

  LtMatrix left_;
  LtMatrix right_;
  cublasLtMatmulDescOpaque_t product_{};
  MatrixLayout a_;
  MatrixLayout b_;
  MatrixLayout c_;
  bool in_f64_;
  double beta_;
};

/// What a choice is kept under on disk: what decides on it, and what proposed it.
std::string name_of_choice(const Key& key) {
  return fmt::format("cuBLASLt {} on {}: {}", cublasLtGetVersion(), gpu_name(), fmt::join(key, " "));
}

/// Smaller products than this many multiplications take the time of a launch, whatever the algorithm.
constexpr double least_measured = 1 << 20;

/// With `destroys`, c may be overwritten, and the choice is by measurement unless the stream is capturing.
const Choice& chosen(Library& library, Descriptors& product, const LtProblem& p, const Pointers& pointers,
                     bool destroys) {
  const Key key = key_of(p, pointers.alignments());
  const auto known = library.choices.find(key);
  if (known != library.choices.end()) return known->second;
  const cudaStream_t stream = current_launch().stream;
  const auto proposals = product.proposals(library.handle, pointers);
  Choice choice;
  if (!proposals.empty()) choice = proposals.front();
  const double work = static_cast<double>(p.batch * p.m) * static_cast<double>(p.n * p.k);
  if (proposals.size() > 1 && destroys && work >= least_measured && !is_capturing(stream)) {
    const std::string name = name_of_choice(key);
    if (const auto kept = read_cached_binary(name); kept && product.takes(library.handle, *kept, pointers)) {
      std::memcpy(&*choice, kept->data(), kept->size());
      return library.choices.emplace(key, choice).first->second;
    }
    std::optional<float> best;
    for (const cublasLtMatmulAlgo_t& algorithm : proposals) {
      const std::optional<float> time = measure(stream, [&] {
        return product.launch(library.handle, pointers, algorithm, stream) == CUBLAS_STATUS_SUCCESS;
      });
      if (!time || (best && *time >= *best)) continue;
      best = time;
      choice = algorithm;
    }
    write_cached_binary(name, {reinterpret_cast<const char*>(&*choice), sizeof *choice});
  }
  return library.choices.emplace(key, choice).first->second;
}

}  // namespace

LtProblem LtProblem::of(const MatmulProblem& problem, DType dtype) {
  LtProblem p;
  p.m = problem.m;
  p.n = problem.n;
  p.k = problem.k;
  p.a = problem.a;
  p.b = problem.b;
  p.input = p.output = dtype;
  p.tf32 = dtype == DType::f32 && wick::tf32();
  return p;
}

LtMatrix LtMatrix::of(std::int64_t rows, std::int64_t columns, MatrixStrides strides) {
  // A row-major matrix is the column-major transposed one, which is what the transposed product takes.
  if (strides.column == 1) return {columns, rows, strides.row, false};
  return {rows, columns, strides.column, true};
}

namespace {

constexpr std::size_t workspace_alignment = 256;

/// Small products cannot be split into as many parts.
std::size_t usable_workspace(const LtProblem& p) {
  const auto most = static_cast<std::size_t>(p.most_workspace);
  constexpr std::size_t parts = 16;
  const auto output = static_cast<std::size_t>(p.batch * p.m * p.n);
  return std::min(most, std::max<std::size_t>(output * parts * sizeof(float), std::size_t{1} << 20));
}

Pointers pointers_of(const LtProblem& p, const void* a, const void* b, const void* added, void* c,
                     void* workspace) {
  std::size_t room = usable_workspace(p) + workspace_alignment;
  workspace = std::align(workspace_alignment, usable_workspace(p), workspace, room);
  return {a, b, added, c, workspace, usable_workspace(p)};
}

}  // namespace

std::size_t LtMatmul::workspace_bytes() const { return usable_workspace(problem_) + workspace_alignment; }

void LtMatmul::choose(const void* a, const void* b, const void* bias, void* c, void* workspace) const {
  Library& lt = library();
  std::lock_guard lock(lt.mutex);
  Descriptors product(problem_, bias);
  const Pointers pointers = pointers_of(problem_, a, b, c, c, workspace);
  (void)chosen(lt, product, problem_, pointers, true);
}

bool LtMatmul::run(const void* a, const void* b, const void* bias, void* c, void* workspace,
                   const void* added) const {
  Library& lt = library();
  std::lock_guard lock(lt.mutex);
  Descriptors product(problem_, bias);
  const Pointers pointers = pointers_of(problem_, a, b, added ? added : c, c, workspace);
  const Choice choice = chosen(lt, product, problem_, pointers, !problem_.accumulate);
  if (!choice) return false;
  const cublasStatus_t status = product.launch(lt.handle, pointers, *choice, current_launch().stream);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
    lt.choices[key_of(problem_, pointers.alignments())] =
        std::nullopt;  // proposed, but refused when it is launched
    return false;
  }
  check_lt(status, "a matrix product");
  return true;
}

}  // namespace wick::cuda
