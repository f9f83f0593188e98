#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wick/low_rank.h"
#include "wick/model_config.h"
#include "wick/tensor.h"

namespace wick {

/// Keys and values of the positions seen so far, one pair a layer. A value: copies share until one is
/// advanced.
struct KvCache {
  struct Layer {
    Tensor k;  ///< [batch, kv_heads, capacity, head_dim]
    Tensor v;
  };
  std::vector<Layer> layers;
  std::int64_t length = 0;    ///< positions filled
  std::int64_t capacity = 0;  ///< positions there is room for
};

/// One call of a decoder.
struct ModelInput {
  Tensor ids;        ///< i32 or i64 [batch, length]
  Tensor positions;  ///< empty (counted from the cache's length), or i32/i64 [batch, length]
  /// Empty, or broadcastable to [batch, heads, length, keys]: bool (true = may attend) or floating (added),
  /// on top of the causal (and window) rule. For padding and packed rows.
  Tensor mask;
  KvCache* cache = nullptr;  ///< read and advanced when given
  /// Empty, or the positions of the cache that are filled as an i64 scalar, in place of its length, which is
  /// then neither read, checked nor advanced: for steps that are recorded once (see `Compiled`).
  Tensor cache_length;
  const LowRankLayers* adapter = nullptr;  ///< added to the linear layers that it names
  std::optional<Tensor> dropout_key;       ///< training: a key for the adapter's dropout; absent: no dropout
  bool last_only = false;                  ///< logits of the last position only: [batch, 1, vocab]
  /// So many ids at the end of each row are padding: they do not count into the cache's length, and
  /// `last_only` means the position before them. What they are makes no difference to other positions.
  std::int64_t padding = 0;
  bool checkpoint_layers = false;  ///< training: the backward computes each layer again; see `checkpoint`
};

/// A decoder-only transformer (Llama 2/3, Mistral, Qwen2/2.5, Qwen3), configured from a Hugging Face
/// directory. The parameters are named as in the Hugging Face checkpoint, e.g.
/// "model.layers.0.self_attn.q_proj.weight" [out, in]. Not thread-safe for changes; `forward` may run on
/// several threads while nobody changes parameters.
class Model {
 public:
  /// Reads config.json and the weights of `directory` (single or sharded safetensors, mapped, not copied).
  /// With `dtype`, weights of another floating dtype are converted. Throws ConfigError for what is not
  /// supported, FormatError that lists tensors that are missing, of wrong shape, or left over.
  /// The parameters lie on `device`, and so do caches and adapters made for the model.
  static Model load(const std::filesystem::path& directory, std::optional<DType> dtype = {},
                    Device device = cpu);
  /// Random weights as the Hugging Face classes initialise them: normal with standard deviation
  /// `initializer_range` (config), norms 1, biases 0. Reproducible from the seed.
  static Model random(const ModelConfig& config, std::uint64_t seed, DType dtype = DType::f32,
                      Device device = cpu);

  /// Parameters of the right shapes that read as zeros (on the CPU; elsewhere they hold anything): for
  /// `explain`. On the CPU they take address space, and memory only where somebody writes.
  static Model blank(const ModelConfig& config, DType dtype = DType::f32, Device device = cpu);

  const ModelConfig& config() const noexcept { return config_; }
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept { return device_; }

  /// Parameters by name.
  const std::map<std::string, Tensor>& parameters() const noexcept { return parameters_; }
  /// Throws ArgumentError for an unknown name or another shape.
  const Tensor& parameter(const std::string& name) const;
  void set_parameter(const std::string& name, Tensor value);

  /// Names and sizes of the linear layers that an adapter can name ("model.layers.0.self_attn.q_proj", ...,
  /// "lm_head").
  const std::vector<LinearModule>& linear_modules() const noexcept { return modules_; }

  /// Logits [batch, length, vocab] (or [batch, 1, vocab]) in the model's dtype, recorded, not computed.
  Tensor forward(const ModelInput& input) const;
  /// Hidden states [batch, length, hidden] before the output head, after the last norm.
  Tensor hidden_states(const ModelInput& input) const;
  /// The weight of the output head [vocab, hidden]; with tied embeddings, that of the embedding.
  const Tensor& output_weight() const;
  /// Tables of at least `count` positions, made once and shared; see `rope_tables`.
  std::pair<Tensor, Tensor> rope_tables_for(std::int64_t count) const;
  /// An empty cache for at least `capacity` positions: rounded up to a multiple of 256, beyond 2,048 to one
  /// of four capacities an octave, so that few plans are needed.
  KvCache make_cache(std::int64_t batch, std::int64_t capacity) const;

  /// Writes config.json and model.safetensors in `dtype`; tokenizer files are not touched. Atomic, file by
  /// file.
  void save(const std::filesystem::path& directory, std::optional<DType> dtype = {}) const;

 private:
  Model(const ModelConfig& config, DType dtype, Device device);
  ModelConfig config_;
  DType dtype_ = DType::f32;
  Device device_;
  std::map<std::string, Tensor> parameters_;
  std::vector<LinearModule> modules_;
  struct RopeTables;
  std::shared_ptr<RopeTables> rope_tables_;
};

/// Cosines and sines for `rope`: {cos, sin}, f32 [count, head_dim / 2], angle of position p and pair i
/// p theta^(-2i/d), with the llama3 or linear scaling of the config (computed in f64).
std::pair<Tensor, Tensor> rope_tables(const ModelConfig& config, std::int64_t count);

}  // namespace wick
