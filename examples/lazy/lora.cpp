// LoRA by hand, and with a model and an adapter.
#include "wick/lora.h"

#include <cstdint>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/model.h"
#include "wick/ops.h"
#include "wick/optimizer.h"

namespace {

using namespace wick;

ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 32;
  config.hidden_size = 16;
  config.intermediate_size = 32;
  config.layers = 1;
  config.heads = 2;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 16;
  config.initializer_range = 0.3;
  return config;
}

void one_layer() {
  const Tensor x = random_normal(random_key(1), {4, 16});
  const Tensor weight = random_normal(random_key(2), {16, 16});
  const Tensor a = random_normal(random_key(3), {2, 16});
  const Tensor b = random_normal(random_key(4), {16, 2});
  const Tensor fused = lora_linear(x, weight, {}, a, b, 0.5);
  const Tensor plain = matmul(x, transpose(weight)) + 0.5 * matmul(matmul(x, transpose(a)), transpose(b));
  check(max(abs(fused - plain)).item<float>() < 1e-4F, "lora_linear is x W^T + scale (x A^T) B^T");
}

void train_adapter() {
  const Model model = Model::random(small_config(), 1);
  LoraConfig config;
  config.rank = 2;
  config.target_modules = AllLinear{};
  LoraAdapter adapter = LoraAdapter::create(model, config, 1);

  std::vector<Tensor> parameters;
  for (const auto& [name, value] : adapter.parameters()) parameters.push_back(value);
  AdamW optimizer(AdamWOptions{}, parameters);
  const Tensor ids = Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4}, Shape{1, 4});
  const Tensor targets = Tensor::from(std::vector<std::int32_t>{2, 3, 4, 5}, Shape{1, 4});

  float first = 0;
  float last = 0;
  for (int step = 0; step < 60; ++step) {
    ModelInput input;
    input.ids = ids;
    input.adapter = &adapter;
    const Tensor loss = cross_entropy(model.forward(input), targets);
    const std::vector<Tensor> updated =
        optimizer.step(parameters, grad(loss, parameters), 2e-2, is_finite(loss));
    std::vector<Tensor> outputs = updated;
    for (const Tensor& moment : optimizer.pending()) outputs.push_back(moment);
    outputs.push_back(loss);
    const auto names = adapter.parameters();
    for (std::size_t i = 0; i < names.size(); ++i) adapter.set_parameter(names[i].first, updated[i]);
    parameters = updated;
    eval(outputs, History::drop);
    last = loss.item<float>();
    if (step == 0) first = last;
  }
  check(last < 0.7F * first, "the adapter learns, the base stays as it is");
}

}  // namespace

int main() {
  one_layer();
  train_adapter();
}
