// Wick's side of the tables in docs/migrating.md.
#include <cstdint>
#include <vector>

#include "check.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/lora_config.h"
#include "wick/ops.h"
#include "wick/optimizer.h"
#include "wick/sampler.h"

namespace {

using namespace wick;

void tensors() {
  const Tensor x = random_normal(random_key(1), {2, 3});
  check(cast(x, DType::bf16).dtype() == DType::bf16, "cast");
  check(zeros({2, 3}).shape() == Shape{2, 3} && arange(4).dtype() == DType::i64, "zeros, arange");
  check(sum(x, {-1}, true).shape() == Shape{2, 1}, "sum keeps the axis");
  check(reshape(x, {3, -1}).shape() == Shape{3, 2} && permute(x, {1, 0}).shape() == Shape{3, 2}, "shapes");
  check(slice(x, 1, 1, 3).shape() == Shape{2, 2}, "slice");
  check(linear(x, zeros({5, 3}), zeros({5})).shape() == Shape{2, 5}, "weights are [out, in]");
  const Tensor ids = Tensor::from(std::vector<std::int32_t>{1, 0}, Shape{2});
  check(embedding(x, ids).shape() == Shape{2, 3}, "embedding takes the table first");
  check(where(greater(x, 0), x, 0.0).dtype() == DType::f32, "numbers take the tensor's dtype");
  check((ids * 0.5).dtype() == DType::f64, "a fractional number with integers gives f64");
  const Tensor q = random_normal(random_key(2), {1, 2, 4, 8});
  check(attention(q, q, q, {.causal = true}).shape() == q.shape(), "attention");
  check(rms_norm(x, ones({3}), 1e-6).shape() == x.shape(), "rms_norm");
  check(cross_entropy(x, ids).rank() == 0, "cross_entropy");
  check(stop_gradient(x).shape() == x.shape() && x.detach().is_evaluated(), "without gradient");
}

void training_step() {
  const Tensor x = random_normal(random_key(3), {16, 4});
  const Tensor y = sum(x, {1}, true);
  Tensor w = zeros({4, 1});
  AdamW optimizer(AdamWOptions{}, {w});
  const double learning_rate = 0.1;
  float last = 0;
  for (int step = 0; step < 100; ++step) {
    const Tensor loss = mean(square(matmul(x, w) - y));
    const std::vector<Tensor> updated = optimizer.step({w}, grad(loss, {w}), learning_rate, is_finite(loss));
    std::vector<Tensor> outputs = optimizer.pending();
    outputs.insert(outputs.end(), {loss, updated[0]});
    w = updated[0];
    eval(outputs, History::drop);
    last = loss.item<float>();
  }
  check(last < 0.05F, "the loss falls");
}

void settings() {
  LoraConfig config;
  config.rank = 8;
  config.alpha = 16;
  config.target_modules = AllLinear{};
  config.validate();
  config.target_modules = ModuleNames{"q_proj", "v_proj"};
  check(config.targets("model.layers.0.self_attn.q_proj"), "targets by name");
  SamplingOptions sampling;
  sampling.top_p = 0.9;
  Sampler sampler(sampling);
  const std::vector<float> logits{0, 10, 0};
  check(sampler.sample(logits, {}).id == 1, "sampling");
}

}  // namespace

int main() {
  tensors();
  training_step();
  settings();
}
