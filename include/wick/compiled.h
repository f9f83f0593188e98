#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "wick/stream.h"
#include "wick/tensor.h"

namespace wick {

struct CompiledOptions {
  /// Positions of inputs whose memory outputs may take, in calls that get the only handle to them (moved into
  /// the list of inputs): the state of a loop.
  std::vector<std::size_t> donated;
};

/// A function of tensors that is recorded and planned once for each form of its inputs (their number, dtypes,
/// shapes, strides and devices, and which of them are donated), and then run without recording: for
/// computations that cost no more than recording them does. What `jax.jit` and MLX's `compile` do.
///
/// The function must depend on its inputs alone. Whatever else it reads when it is recorded (tensors that it
/// captures, numbers of the host, keys of random numbers) stays as it was then, also a number that it reads
/// from its inputs or from what it computes of them; captured tensors are held. It must not evaluate what its
/// outputs are made of. Gradients are taken inside it, not through it: its outputs are data.
///
/// Copies share what was recorded. Thread-safe, where the function is.
class Compiled {
 public:
  using Function = std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)>;

  explicit Compiled(Function function, CompiledOptions options = {});

  /// The function's outputs for `inputs`, evaluated on the calling thread as by `eval`. Evaluates inputs that
  /// are not. Throws what the function and `eval` throw; ArgumentError when the function has
  /// evaluated what outputs and inputs have between them, or gives an empty tensor or none; DeviceError when
  /// its outputs are on several devices.
  std::vector<Tensor> operator()(std::vector<Tensor> inputs) const;
  /// The same as by `eval_async`: returns at once, with outputs that can be used at once.
  std::vector<Tensor> submit(std::vector<Tensor> inputs, const Stream& stream = Stream::current()) const;

  /// Forms of inputs that were recorded and are kept: at most 64, the least recently used goes first.
  std::size_t forms() const;

 private:
  struct State;
  struct Bound;
  class BoundWork;
  std::shared_ptr<State> state_;
};

}  // namespace wick
