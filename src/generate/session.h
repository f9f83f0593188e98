#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "generate/device_sampler.h"
#include "wick/compiled.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/sampler.h"

namespace wick {

/// A step of generation that was submitted.
struct Fed {
  Tensor logits;  ///< [1, vocabulary]; f32 where the host's sampler reads them
  Choice choice;  ///< without numbers where the host's sampler gives them, of nothing where it chooses
};

/// A model with a cache that holds what was fed so far, and the choice of what comes next. The step that
/// feeds a token is recorded once.
class Session {
 public:
  /// `capacity`: positions that will be fed at most.
  Session(const Model& model, const LoraAdapter* adapter, const std::vector<std::int32_t>& prompt,
          const SamplingOptions& sampling, std::int64_t capacity);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Submits a prompt, padded to one of few lengths, so that few plans are made.
  Fed feed_prompt(std::vector<std::int32_t> ids);
  static std::int64_t padded_length(const ModelConfig& config, std::int64_t length);

  /// Submits the step that begins with ids [1, 1].
  Fed feed(const Tensor& ids);

  /// Whether the step behind another may be fed the token before anybody here has seen it.
  bool may_run_ahead() const { return device_ || likeliest_; }

  /// Waits for the token that comes behind a step. Once for each step, in their order.
  SampledToken token_after(const Fed& fed);

 private:
  /// What a step takes over from the one before.
  struct Carried {
    KvCache cache;
    Tensor seen;  ///< the history of the device's sampler, where that penalises it
  };

  double next_share() { return device_ ? device_->next_share() : 0; }
  Fed record(ModelInput input, const Tensor& share, Carried& carried) const;
  std::vector<Tensor> record_step(const std::vector<Tensor>& inputs) const;
  CompiledOptions step_options() const;
  static std::vector<Tensor> listed(const Fed& fed, const Carried& carried);
  static void take_over(std::span<const Tensor> tensors, Carried& carried);

  const Model& model_;
  const LoraAdapter* adapter_;
  bool likeliest_;                       // of the model's own logits: every token
  std::optional<DeviceSampler> device_;  // on a GPU: logits stay there
  Carried carried_;
  Compiled step_;
  Sampler host_;  // on the host it is faster than ops
  std::vector<std::int32_t> history_;
  std::vector<float> logits_;
};

}  // namespace wick
