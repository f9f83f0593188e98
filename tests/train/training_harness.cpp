#include "train/training_harness.h"

#include <fstream>
#include <random>
#include <stdexcept>
#include <string>

#include "support/test_device.h"
#include "wick/safetensors.h"

namespace wick {

Model tiny_model(std::uint64_t seed) {
  ModelConfig config;
  config.vocab_size = 64;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.initializer_range = 0.2;
  return Model::random(config, seed, DType::f32, test::test_device());
}

LoraAdapter tiny_adapter(const Model& model, double dropout) {
  LoraConfig config;
  config.rank = 4;
  config.alpha = 8;
  config.dropout = dropout;
  LoraAdapter adapter = LoraAdapter::create(model, config, 7);
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0.0F, 0.1F);
  for (const auto& [name, value] : adapter.parameters()) {
    std::vector<float> values(static_cast<std::size_t>(value.elements()));
    for (float& v : values) v = normal(generator);
    adapter.set_parameter(name, Tensor::from(values, value.shape()));
  }
  return adapter;
}

Dataset tiny_data(int documents, int seed) {
  std::mt19937 generator(static_cast<std::mt19937::result_type>(seed));
  std::string lines;
  for (int i = 0; i < documents; ++i) {
    std::string text;
    for (auto n = 5 + generator() % 30; n > 0; --n) text += static_cast<char>('a' + generator() % 26);
    lines += "{\"text\": \"" + text + "\"}\n";
  }
  TextEncoder encoder;
  encoder.eos = 1;
  encoder.encode = [](std::string_view text) {
    std::vector<std::int32_t> ids;
    for (char c : text) ids.push_back(2 + c - 'a');
    return ids;
  };
  return Dataset::parse_jsonl(lines, "tiny.jsonl", encoder);
}

TrainOptions tiny_options(const std::filesystem::path& out, std::int64_t steps) {
  TrainOptions options;
  options.steps = steps;
  options.batch_size = 3;
  options.seq_len = 32;
  options.learning_rate = 1e-2;
  options.schedule = "constant";
  options.seed = 5;
  options.out = out;
  return options;
}

Dataset grid_data(const std::filesystem::path& file, const BatchGrid& grid,
                  const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& labels) {
  const Shape shape{grid.steps, grid.batch, grid.length};
  const std::vector<TensorToWrite> tensors{{"input_ids", DType::i64, shape, std::as_bytes(std::span(ids))},
                                           {"labels", DType::i64, shape, std::as_bytes(std::span(labels))}};
  write_safetensors(file, tensors);
  return Dataset::load(file, {});
}

void flip_bit(const std::filesystem::path& file, std::uint64_t at) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const int byte = stream.get();
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(static_cast<char>(byte ^ 1));
  if (!stream) throw std::runtime_error("cannot change " + file.string());
}

}  // namespace wick
