#include "nn/model_config_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "io/printable.h"
#include "nn/model_family.h"
#include "wick/error.h"

namespace wick {
namespace {

class Check {
 public:
  Check(const ModelConfig& config, std::string_view name) : config_(config), name_(name) {}

  void run() const {
    const ModelFamily* family = find_model_family(config_.architecture);
    if (!family) {
      refuse(fmt::format("the architecture '{}' is not supported; supported are: {}",
                         printable(config_.architecture), list_model_families()));
    }
    check_sizes();
    check_numbers();
    check_ids();
    if (config_.dtype && !is_floating(*config_.dtype)) {
      refuse(fmt::format("the dtype of weights cannot be {}", name_of(*config_.dtype)));
    }
    check_family(*family);
    check_windows(*family);
  }

 private:
  [[noreturn]] void refuse(const std::string& complaint) const {
    throw ConfigError(fmt::format("{}: {}", name_, complaint));
  }
  void require(bool holds, const char* key, double value, const char* what) const {
    if (!holds) refuse(fmt::format("'{}' must be {}, not {}", key, what, value));
  }

  void check_sizes() const {
    for (const ModelSize& size : model_sizes) {
      const std::int64_t value = config_.*size.member;
      if (value < 1 || value > size.most) {
        refuse(fmt::format("'{}' must be from 1 to {}, not {}", size.key, size.most, value));
      }
    }
    if (config_.heads % config_.kv_heads != 0) {
      refuse(fmt::format("'num_attention_heads' ({}) must be a multiple of 'num_key_value_heads' ({})",
                         config_.heads, config_.kv_heads));
    }
    if (config_.head_dim % 2 != 0) {
      refuse(fmt::format("'head_dim' must be even for rotary embeddings, not {}", config_.head_dim));
    }
    if (config_.heads > max_size / config_.head_dim) {
      refuse(fmt::format("'num_attention_heads' ({}) times 'head_dim' ({}) must be below 2^31", config_.heads,
                         config_.head_dim));
    }
  }

  void check_numbers() const {
    const RopeConfig& rope = config_.rope;
    const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
    require(positive(config_.rms_norm_eps) && config_.rms_norm_eps <= 1, "rms_norm_eps", config_.rms_norm_eps,
            "above 0 and at most 1");
    require(config_.initializer_range >= 0 && config_.initializer_range <= 1, "initializer_range",
            config_.initializer_range, "from 0 to 1");
    require(positive(rope.theta), "rope_theta", rope.theta, "a positive number");
    if (rope.type == RopeConfig::Type::standard) return;
    require(positive(rope.factor), "factor", rope.factor, "a positive number");
    if (rope.type == RopeConfig::Type::linear) return;
    require(positive(rope.low_freq_factor), "low_freq_factor", rope.low_freq_factor, "a positive number");
    require(std::isfinite(rope.high_freq_factor) && rope.high_freq_factor > rope.low_freq_factor,
            "high_freq_factor", rope.high_freq_factor, "above low_freq_factor");
    require(rope.original_max_position >= 1 && rope.original_max_position <= max_size,
            "original_max_position_embeddings", static_cast<double>(rope.original_max_position),
            "from 1 to 2147483647");
  }

  void check_ids() const {
    const auto check_id = [&](const char* key, std::int64_t id) {
      if (id < 0 || id >= config_.vocab_size) {
        refuse(fmt::format("'{}' is {}, outside the vocabulary of {}", key, id, config_.vocab_size));
      }
    };
    if (config_.bos_id) check_id("bos_token_id", *config_.bos_id);
    if (config_.pad_id) check_id("pad_token_id", *config_.pad_id);
    for (const std::int64_t id : config_.eos_ids) check_id("eos_token_id", id);
  }

  void check_family(const ModelFamily& family) const {
    using Bias = ModelFamily::AttentionBias;
    const bool bias_fits = family.attention_bias == Bias::configurable
                               ? config_.attention_bias == config_.attention_output_bias
                               : !config_.attention_output_bias &&
                                     config_.attention_bias == (family.attention_bias == Bias::qkv);
    if (!bias_fits) refuse(fmt::format("a {} model cannot have these attention biases", family.model_type));
    if (config_.mlp_bias && !family.has_mlp_bias) {
      refuse(fmt::format("a {} model cannot have 'mlp_bias'", family.model_type));
    }
    if (config_.qk_norm != family.qk_norm) {
      refuse(fmt::format("a {} model {} norms of queries and keys", family.model_type,
                         family.qk_norm ? "must have" : "cannot have"));
    }
  }

  void check_windows(const ModelFamily& family) const {
    const auto& windows = config_.sliding_windows;
    if (windows.empty()) return;
    if (std::ssize(windows) != config_.layers) {
      refuse(fmt::format("there are {} sliding windows for {} layers", windows.size(), config_.layers));
    }
    std::set<std::int64_t> different;
    for (const auto& window : windows) {
      if (window && (*window < 1 || *window > max_size)) {
        refuse(fmt::format("'sliding_window' must be from 1 to {}, not {}", max_size, *window));
      }
      if (window) different.insert(*window);
    }
    const bool uniform = std::equal(windows.begin() + 1, windows.end(), windows.begin());
    const bool fits = family.windows == ModelFamily::Windows::by_layer     ? different.size() <= 1
                      : family.windows == ModelFamily::Windows::all_layers ? uniform
                                                                           : different.empty();
    if (!fits) refuse(fmt::format("a {} model cannot have these sliding windows", family.model_type));
  }

  const ModelConfig& config_;
  std::string_view name_;
};

}  // namespace

void check_model_config(const ModelConfig& config, std::string_view name) { Check(config, name).run(); }

}  // namespace wick
