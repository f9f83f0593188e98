#include "random_program_harness.h"

#include "random_program_recorder.h"
#include "wick/grad.h"

namespace wick::test {
namespace {

const RandomOp& random_op(Recorder& r) {
  int total = 0;
  for (const RandomOp& op : random_ops()) total += op.weight;
  int at = r.below(total);
  for (const RandomOp& op : random_ops())
    if ((at -= op.weight) < 0) return op;
  return random_ops().front();
}

/// A segment whose backward computes it again.
Tensor checkpointed(Recorder& r) {
  const Tensor x = r.value_of_rank(1);
  const Tensor weight = r.data({x.dim(-1)});
  return checkpoint([&](std::span<const Tensor> in) { return tanh(rms_norm(in[0], weight, 0.1)) * in[0]; },
                    {x});
}

}  // namespace

Tensor ProgramData::next(const std::function<Tensor()>& make) {
  Tensor tensor = used_.size() < given_.size() ? given_[used_.size()] : make();
  used_.push_back(tensor);
  return tensor;
}

Recorded record_program(std::uint64_t seed, ProgramData& data) {
  Recorder r(seed, data);
  if (r.chance(15)) r.allow_empty();
  if (r.chance(15)) r.allow_long();
  for (int i = 2 + r.below(3); i > 0; --i) r.add(r.data(r.shape()), true);
  for (int i = 4 + r.below(25); i > 0; --i) {
    const RandomOp& op = random_op(r);
    r.add(op.record(r), op.exact);
  }
  if (r.chance(30)) r.add(checkpointed(r), false);

  Recorded recorded;
  Tensor loss;
  for (const Value& v : r.pool()) {
    recorded.values.push_back(v.tensor);
    if (!r.chance(35)) continue;
    recorded.outputs.push_back(v.tensor);
    if (v.tensor.dtype() != r.real() || v.tensor.elements() == 0) continue;
    const Tensor part = mean(r.chance(50) ? sin(v.tensor) : v.tensor * r.data(v.tensor.shape()));
    loss = loss.defined() ? loss + part : part;
  }
  recorded.outputs.push_back(r.pool().back().tensor);
  if (loss.defined() && r.chance(70)) {
    recorded.outputs.push_back(loss);
    for (const Tensor& gradient : grad(loss, r.leaves())) recorded.outputs.push_back(gradient);
  }
  recorded.narrow = r.narrow;
  return recorded;
}

}  // namespace wick::test
