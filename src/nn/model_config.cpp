#include "wick/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "io/json.h"
#include "io/json_field.h"
#include "io/printable.h"
#include "io/read_file.h"
#include "nn/model_config_check.h"
#include "nn/model_family.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{4} << 20;
constexpr std::int64_t default_max_window_layers = 28;

constexpr std::array<std::pair<RopeConfig::Type, const char*>, 3> rope_types{
    {{RopeConfig::Type::standard, "default"},
     {RopeConfig::Type::linear, "linear"},
     {RopeConfig::Type::llama3, "llama3"}}};

constexpr std::array<std::pair<std::string_view, DType>, 4> torch_dtypes{
    {{"float32", DType::f32}, {"bfloat16", DType::bf16}, {"float16", DType::f16}, {"float64", DType::f64}}};

constexpr const char* full_attention = "full_attention";
constexpr const char* sliding_attention = "sliding_attention";

// Reading

const ModelFamily& read_family(const JsonField& root) {
  std::vector<std::string> classes;
  if (const auto field = root.find("architectures")) classes = field->strings();
  const auto has_class = [&](const ModelFamily& family) {
    return std::find(classes.begin(), classes.end(), family.class_name) != classes.end();
  };

  if (const auto field = root.find("model_type")) {
    const ModelFamily* family = find_model_family(field->string());
    if (!family) field->refuse(fmt::format("is {}; supported are: {}", field->text(), list_model_families()));
    if (!classes.empty() && !has_class(*family)) {
      root.at("architectures")
          .refuse(fmt::format("names {}, not {}: only causal language models are supported",
                              printable(classes.front()), family->class_name));
    }
    return *family;
  }
  const auto families = model_families();
  const auto found = std::find_if(families.begin(), families.end(), has_class);
  if (found == families.end()) {
    root.refuse(
        fmt::format("must have a 'model_type' (one of: {}) or a supported class in 'architectures'{}",
                    list_model_families(),
                    classes.empty() ? "" : fmt::format(", which names {}", printable(classes.front()))));
  }
  return *found;
}

void read_sizes(const JsonField& root, ModelConfig& config) {
  for (const ModelSize& size : model_sizes) {
    config.*size.member = root.integer_or(size.key, config.*size.member, 1, size.most);
  }
  const bool kv_heads_null = root.has("num_key_value_heads") && !root.find("num_key_value_heads");
  if (config.kv_heads == 0 || kv_heads_null) config.kv_heads = config.heads;
  if (config.head_dim == 0) {
    if (config.hidden_size % config.heads != 0) {
      root.refuse(fmt::format(
          "has a hidden_size ({}) that is not a multiple of num_attention_heads ({}), and no head_dim",
          config.hidden_size, config.heads));
    }
    config.head_dim = config.hidden_size / config.heads;
  }
}

void refuse_partial_rotary(const JsonField& object) {
  if (object.number_or("partial_rotary_factor", 1.0) != 1.0) {
    object.at("partial_rotary_factor").refuse("must be 1: partial rotary embeddings are not supported");
  }
}

RopeConfig::Type rope_type_of(const JsonField& field) {
  const std::string& name = field.string();
  const auto found = std::find_if(rope_types.begin(), rope_types.end(),
                                  [&](const auto& type) { return name == type.second; });
  if (found == rope_types.end()) {
    field.refuse(
        fmt::format("is {}, which is not supported; supported are: default, linear, llama3", field.text()));
  }
  return found->first;
}

/// The older rope_scaling goes before the newer rope_parameters, as in transformers; either may lack what is
/// default.
std::optional<JsonField> find_rope_parameters(const JsonField& root) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    auto field = root.find(key);
    if (field && !field->members().empty()) return field;
  }
  return std::nullopt;
}

RopeConfig read_rope(const JsonField& root, const ModelConfig& config) {
  RopeConfig rope;
  rope.theta = root.number_or("rope_theta", rope.theta);
  refuse_partial_rotary(root);
  const auto field = find_rope_parameters(root);
  if (!field) return rope;

  if (field->has(full_attention) || field->has(sliding_attention)) {
    field->refuse("must be the same for all layers: rope parameters by layer type are not supported");
  }
  refuse_partial_rotary(*field);
  rope.theta = field->number_or("rope_theta", rope.theta);
  const auto type = field->find("rope_type") ? field->find("rope_type") : field->find("type");
  if (type) rope.type = rope_type_of(*type);
  if (rope.type == RopeConfig::Type::standard) return rope;

  rope.factor = field->at("factor").number();
  if (rope.type == RopeConfig::Type::linear) return rope;

  rope.low_freq_factor = field->at("low_freq_factor").number();
  rope.high_freq_factor = field->at("high_freq_factor").number();
  constexpr const char* original = "original_max_position_embeddings";
  rope.original_max_position = field->integer_or(original, config.max_position_embeddings, 1, max_size);
  rope.original_max_position = root.integer_or(original, rope.original_max_position, 1, max_size);
  return rope;
}

/// sliding_window, where it counts: Qwen's classes need use_sliding_window too.
std::optional<std::int64_t> read_window(const JsonField& root, const ModelFamily& family) {
  if (family.windows == ModelFamily::Windows::none) return std::nullopt;
  if (family.windows == ModelFamily::Windows::by_layer && !root.boolean_or("use_sliding_window", false)) {
    return std::nullopt;
  }
  if (!root.has("sliding_window")) return family.default_window;
  const auto field = root.find("sliding_window");
  if (!field) return std::nullopt;
  return field->integer(1, max_size);
}

/// Whether layer_types, where given, has sliding attention in each layer.
std::optional<std::vector<bool>> read_layer_types(const JsonField& root, std::int64_t layers) {
  const auto field = root.find("layer_types");
  if (!field) return std::nullopt;
  std::vector<bool> slides;
  for (const JsonField& type : field->elements()) {
    if (type.string() != full_attention && type.string() != sliding_attention) {
      type.refuse(fmt::format("is {}, which is not supported; supported are: {}, {}", type.text(),
                              full_attention, sliding_attention));
    }
    slides.push_back(type.string() == sliding_attention);
  }
  if (std::ssize(slides) != layers) {
    field->refuse(fmt::format("has {} entries, but num_hidden_layers is {}", slides.size(), layers));
  }
  return slides;
}

void read_windows(const JsonField& root, const ModelFamily& family, ModelConfig& config) {
  const auto window = read_window(root, family);
  const auto layer_types = read_layer_types(root, config.layers);
  const bool by_layer = family.windows == ModelFamily::Windows::by_layer;
  // The layers from max_window_layers on slide, unless layer_types says otherwise.
  const std::int64_t first =
      by_layer ? root.integer_or("max_window_layers", default_max_window_layers, 0, max_size) : 0;

  bool any = false;
  std::vector<std::optional<std::int64_t>> windows(static_cast<std::size_t>(config.layers));
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const bool by_rule = window.has_value() && static_cast<std::int64_t>(i) >= first;
    const bool slides = by_layer && layer_types ? (*layer_types)[i] : by_rule;
    if (layer_types && (*layer_types)[i] != slides) {
      root.at("layer_types")
          .refuse(fmt::format("says {} for layer {}, which a {} model has not",
                              (*layer_types)[i] ? sliding_attention : full_attention, i, family.model_type));
    }
    if (slides && !window) {
      root.at("layer_types")
          .refuse(fmt::format("says {} for layer {}, but use_sliding_window or sliding_window is not set",
                              sliding_attention, i));
    }
    if (slides) windows[i] = window;
    any = any || slides;
  }
  if (any) config.sliding_windows = std::move(windows);
}

void read_flags(const JsonField& root, const ModelFamily& family, ModelConfig& config) {
  using Bias = ModelFamily::AttentionBias;
  const bool configured =
      family.attention_bias == Bias::configurable && root.boolean_or("attention_bias", false);
  config.attention_bias = configured || family.attention_bias == Bias::qkv;
  config.attention_output_bias = configured;
  config.mlp_bias = family.has_mlp_bias && root.boolean_or("mlp_bias", false);
  config.qk_norm = family.qk_norm;
  config.tie_word_embeddings = root.boolean_or("tie_word_embeddings", false);
}

/// A token id; some configs write -1 for none.
std::optional<std::int64_t> read_id(const JsonField& field) {
  const std::int64_t id = field.integer(-1, max_size);
  return id < 0 ? std::nullopt : std::optional(id);
}

void read_special_tokens(const JsonField& root, ModelConfig& config) {
  for (const auto& [key, member] :
       {std::pair("bos_token_id", &ModelConfig::bos_id), std::pair("pad_token_id", &ModelConfig::pad_id)}) {
    if (root.has(key)) config.*member = std::nullopt;
    if (const auto field = root.find(key)) config.*member = read_id(*field);
  }
  if (!root.has("eos_token_id")) return;
  config.eos_ids.clear();
  const auto field = root.find("eos_token_id");
  if (!field) return;
  const std::vector<JsonField> ids = field->is_array() ? field->elements() : std::vector{*field};
  for (const JsonField& id : ids) {
    if (const auto value = read_id(id)) config.eos_ids.push_back(*value);
  }
}

std::optional<DType> read_dtype(const JsonField& root) {
  const auto field = root.find("dtype") ? root.find("dtype") : root.find("torch_dtype");
  if (!field) return std::nullopt;
  std::string_view name = field->string();
  if (name.starts_with("torch.")) name.remove_prefix(6);
  const auto found =
      std::find_if(torch_dtypes.begin(), torch_dtypes.end(), [=](const auto& t) { return t.first == name; });
  if (found == torch_dtypes.end()) {
    field->refuse(fmt::format("is {}; supported are: float32, bfloat16, float16, float64", field->text()));
  }
  return found->second;
}

void refuse_unsupported(const JsonField& root) {
  if (const auto field = root.find("hidden_act");
      field && field->string() != "silu" && field->string() != "swish") {
    field->refuse(fmt::format("is {}; only silu is supported", field->text()));
  }
  if (const auto field = root.find("quantization_config")) {
    field->refuse("is set: quantised weights are not supported; use the model's original weights");
  }
  if (root.boolean_or("use_mrope", false)) root.at("use_mrope").refuse("is set, which is not supported");
}

// Writing

std::string_view torch_name_of(DType dtype) {
  return std::find_if(torch_dtypes.begin(), torch_dtypes.end(),
                      [=](const auto& t) { return t.second == dtype; })
      ->first;
}

template <typename T>
nlohmann::json value_or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json rope_scaling_of(const RopeConfig& rope) {
  if (rope.type == RopeConfig::Type::standard) return nullptr;
  const auto type =
      std::find_if(rope_types.begin(), rope_types.end(), [&](const auto& t) { return t.first == rope.type; });
  nlohmann::json scaling{{"rope_type", type->second}, {"factor", rope.factor}};
  if (rope.type == RopeConfig::Type::llama3) {
    scaling["low_freq_factor"] = rope.low_freq_factor;
    scaling["high_freq_factor"] = rope.high_freq_factor;
    scaling["original_max_position_embeddings"] = rope.original_max_position;
  }
  return scaling;
}

nlohmann::json eos_of(const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? nlohmann::json(ids.front()) : nlohmann::json(ids);
}

void write_windows(const ModelConfig& config, const ModelFamily& family, nlohmann::json& json) {
  const auto& windows = config.sliding_windows;
  const auto first =
      std::find_if(windows.begin(), windows.end(), [](const auto& window) { return window.has_value(); });
  const bool any = first != windows.end();
  if (family.windows == ModelFamily::Windows::none) return;
  json["sliding_window"] = any ? nlohmann::json(**first) : nlohmann::json();
  if (family.windows != ModelFamily::Windows::by_layer) return;

  json["use_sliding_window"] = any;
  json["max_window_layers"] = any ? first - windows.begin() : config.layers;
  auto& types = json["layer_types"] = nlohmann::json::array();
  for (std::int64_t i = 0; i < config.layers; ++i) {
    types.push_back(config.sliding_window(i) ? sliding_attention : full_attention);
  }
}

}  // namespace

ModelConfig ModelConfig::from_file(const std::filesystem::path& file) {
  return from_json(read_file(file, max_file_bytes), file.string());
}

ModelConfig ModelConfig::from_json(std::string_view text, std::string_view name) {
  const JsonField root(parse_json(text, name), name, JsonField::throw_as<ConfigError>);
  const ModelFamily& family = read_family(root);
  refuse_unsupported(root);
  ModelConfig config = family.defaults;
  read_sizes(root, config);
  config.rms_norm_eps = root.number_or("rms_norm_eps", config.rms_norm_eps);
  config.initializer_range = root.number_or("initializer_range", config.initializer_range);
  config.rope = read_rope(root, config);
  read_flags(root, family, config);
  read_windows(root, family, config);
  read_special_tokens(root, config);
  config.dtype = read_dtype(root);
  check_model_config(config, name);
  return config;
}

void ModelConfig::validate() const { check_model_config(*this, "the model configuration"); }

std::string ModelConfig::to_json() const {
  validate();
  const ModelFamily& family = *find_model_family(architecture);
  // The older keys, which every version of transformers and the converters of other tools read.
  nlohmann::json json{{"architectures", {family.class_name}},
                      {"model_type", family.model_type},
                      {"hidden_act", "silu"},
                      {"rms_norm_eps", rms_norm_eps},
                      {"initializer_range", initializer_range},
                      {"rope_theta", rope.theta},
                      {"rope_scaling", rope_scaling_of(rope)},
                      {"tie_word_embeddings", tie_word_embeddings},
                      {"attention_dropout", 0.0},
                      {"use_cache", true},
                      {"bos_token_id", value_or_null(bos_id)},
                      {"pad_token_id", value_or_null(pad_id)},
                      {"eos_token_id", eos_of(eos_ids)}};
  for (const ModelSize& size : model_sizes) json[size.key] = this->*size.member;
  if (family.attention_bias == ModelFamily::AttentionBias::configurable)
    json["attention_bias"] = attention_bias;
  if (family.has_mlp_bias) json["mlp_bias"] = mlp_bias;
  if (dtype) json["torch_dtype"] = torch_name_of(*dtype);
  write_windows(*this, family, json);
  return json.dump(2) + '\n';
}

}  // namespace wick
