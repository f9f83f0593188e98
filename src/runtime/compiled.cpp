#include "wick/compiled.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "backend/threads.h"
#include "core/trace.h"
#include "graph/record.h"
#include "optimize/decompose_scope.h"
#include "optimize/pass_selection.h"
#include "runtime/evaluation.h"
#include "runtime/plan_work.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/numerics.h"

namespace wick {
namespace {

constexpr std::size_t most_forms = 64;

/// What a plan depends on besides the function, as a plan's key says it.
struct InputForm {
  DType dtype;
  Device device;
  bool is_weight;
  bool donated = false;
  Shape shape;
  Strides strides;

  explicit InputForm(const Tensor& input)
      : dtype(input.dtype()),
        device(input.device()),
        is_weight(input.node()->value()->storage->is_weight()),
        shape(input.shape()),
        strides(input.node()->value()->layout.strides) {}
  friend bool operator==(const InputForm&, const InputForm&) = default;
};

/// Whether the tensor's memory is nobody else's: one handle to its node, one owner of its storage.
bool can_donate(const Tensor& tensor) {
  const Node& node = *tensor.node();
  const Value& value = *node.value();
  return node.references() == 1 && value.storage->writable() && Storage::held_once(value.storage) &&
         value.layout.offset == 0 && value.layout.is_contiguous();
}

struct Form {
  std::vector<InputForm> inputs;
  int threads = wick::threads();
  bool decomposes = DecomposeScope::active();
  std::uint64_t disabled = disabled_passes();

  Form(const std::vector<Tensor>& tensors, const std::vector<std::size_t>& donated)
      : inputs(tensors.begin(), tensors.end()) {
    for (std::size_t i : donated) inputs[i].donated = can_donate(tensors[i]);
  }
  friend bool operator==(const Form&, const Form&) = default;
};

/// The function recorded for one form of its inputs.
struct Recording {
  std::shared_ptr<const Plan> plan;
  std::vector<std::size_t> inputs;  // of the plan's leaves: the number of the input, or `captured`
  std::vector<Tensor> tensors;      // of the leaves: the captured ones
  std::vector<Spec> outputs;
  Device device;

  static constexpr std::size_t captured = ~std::size_t{0};
};

std::size_t position_of(const Node* node, const std::vector<Tensor>& tensors) {
  const auto at = std::ranges::find_if(tensors, [&](const Tensor& t) { return t.node() == node; });
  return at == tensors.end() ? Recording::captured : static_cast<std::size_t>(at - tensors.begin());
}

/// Throws when something that depends on an input has a value: it was computed while recording, and would
/// stay what it was then.
void require_recorded(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs) {
  const Walk all = walk(outputs, WalkThrough::everything);
  std::vector<char> depends(all.order.size(), 0);
  for (std::size_t i = 0; i < all.order.size(); ++i) {
    const Node& node = *all.order[i];
    const bool is_input = position_of(&node, inputs) != Recording::captured;
    depends[i] = static_cast<char>(is_input);
    for (std::uint32_t e : all.inputs(i)) depends[i] = static_cast<char>(depends[i] | depends[e]);
    if (depends[i] && !is_input && node.value())
      throw ArgumentError("a compiled function must only record, but it evaluated or read the result of " +
                          std::string(node.op()->name) + ", which depends on its inputs");
  }
}

void require_outputs(const std::vector<Tensor>& outputs) {
  if (outputs.empty()) throw ArgumentError("a compiled function must give at least one tensor");
  for (const Tensor& output : outputs) {
    if (!output.defined()) throw ArgumentError("a compiled function gave an empty tensor");
    if (!(output.device() == outputs.front().device()))
      throw DeviceError("the outputs of a compiled function must be on one device, not on " +
                        outputs.front().device().str() + " and " + output.device().str());
  }
}

std::shared_ptr<const Recording> record(const Compiled::Function& function, const std::vector<Tensor>& inputs,
                                        const Form& form) {
  // Data nodes of their own: one for each input, also where a tensor is given twice.
  std::vector<Tensor> stand_ins;
  stand_ins.reserve(inputs.size());
  for (const Tensor& input : inputs) stand_ins.push_back(input.detach());
  const LazyScope lazy;
  const std::vector<Tensor> outputs = function(stand_ins);
  require_outputs(outputs);
  require_recorded(outputs, stand_ins);

  auto recording = std::make_shared<Recording>();
  recording->device = outputs.front().device();
  for (const Tensor& output : outputs) recording->outputs.push_back({output.shape(), output.dtype()});
  const Walk walked = walk(outputs, WalkThrough::unevaluated);
  std::vector<char> donated(walked.order.size(), 0);
  for (std::size_t i = 0; i < walked.order.size(); ++i) {
    if (!walked.is_leaf(i)) continue;
    const std::size_t input = position_of(walked.order[i], stand_ins);
    recording->inputs.push_back(input);
    donated[i] = input != Recording::captured && form.inputs[input].donated &&
                 form.inputs[input].device == recording->device;
    recording->tensors.push_back(input == Recording::captured ? Node::handle(walked.order[i]) : Tensor());
  }
  recording->plan = plan_for(walked, donated, false);
  return recording;
}

}  // namespace

struct Compiled::State {
  struct Kept {
    Form form;
    std::shared_ptr<const Recording> recording;
  };
  Function function;
  CompiledOptions options;
  std::mutex mutex;
  std::list<Kept> kept;  // most recently used first

  /// The recording for a form, or null.
  std::shared_ptr<const Recording> find(const Form& form) {
    std::lock_guard lock(mutex);
    const auto at = std::ranges::find_if(kept, [&](const Kept& k) { return k.form == form; });
    if (at == kept.end()) return nullptr;
    kept.splice(kept.begin(), kept, at);
    return at->recording;
  }
  void keep(Form form, std::shared_ptr<const Recording> recording) {
    std::lock_guard lock(mutex);
    kept.push_front({std::move(form), std::move(recording)});
    if (kept.size() > most_forms) kept.pop_back();
  }
};

/// A call: its inputs, which it holds, and the plan bound to them.
struct Compiled::Bound {
  /// Evaluates inputs that are not, or are not being.
  Bound(State& state, std::vector<Tensor> given) : inputs(std::move(given)) {
    for (const Tensor& input : inputs) {
      if (!input.defined()) throw ArgumentError("a compiled function was given an empty tensor");
      if (!input.node()->value()) input.eval();
    }
    for (std::size_t i : state.options.donated)
      if (i >= inputs.size())
        throw ArgumentError("input " + std::to_string(i) + " of a compiled function is to be donated, but " +
                            std::to_string(inputs.size()) + " were given");
    Form form(inputs, state.options.donated);
    recording = state.find(form);
    if (!recording) {
      recording = record(state.function, inputs, form);
      state.keep(std::move(form), recording);
    }
    std::vector<const Value*> leaves;
    leaves.reserve(recording->inputs.size());
    for (std::size_t i = 0; i < recording->inputs.size(); ++i) {
      const std::size_t input = recording->inputs[i];
      leaves.push_back(
          (input == Recording::captured ? recording->tensors[i] : inputs[input]).node()->value());
    }
    plan.emplace(recording->plan, std::move(leaves), threads(), false);
    plan->allocate();
  }

  std::vector<Tensor> outputs() const {
    std::vector<Tensor> tensors;
    tensors.reserve(recording->outputs.size());
    for (std::size_t i = 0; i < recording->outputs.size(); ++i)
      tensors.emplace_back(
          Node::make_data(plan->value_of(i), recording->outputs[i].dtype, recording->device));
    return tensors;
  }

  std::vector<Tensor> inputs;
  std::shared_ptr<const Recording> recording;
  std::optional<BoundPlan> plan;
};

class Compiled::BoundWork final : public PlanWork {
 public:
  BoundWork(State& state, std::vector<Tensor> inputs) { bound_.emplace(state, std::move(inputs)); }
  ~BoundWork() override {
    announced_.withdraw([&] { bound_.reset(); });
  }
  std::uint64_t bytes() const { return bound_->plan->result_bytes(); }
  std::vector<Tensor> publish(const std::shared_ptr<Completion>& completion) {
    bound_->plan->complete_with(completion);
    std::vector<Tensor> outputs = bound_->outputs();
    // What this work holds goes with it, so that a later call may take the memory meanwhile.
    for (const auto& result : bound_->plan->results()) announced_.announce(*result);
    const Recording& recording = *bound_->recording;
    for (std::size_t i = 0; i < recording.inputs.size(); ++i)
      if (recording.plan->graph.leaves[i].donated)
        announced_.announce(*bound_->inputs[recording.inputs[i]].node()->value()->storage);
    return outputs;
  }

 private:
  BoundPlan* bound() override { return &*bound_->plan; }

  std::optional<Bound> bound_;
  AnnouncedReleases announced_;
};

Compiled::Compiled(Function function, CompiledOptions options) : state_(std::make_shared<State>()) {
  if (!function) throw ArgumentError("Compiled: there is no function");
  state_->function = std::move(function);
  state_->options = std::move(options);
}

std::vector<Tensor> Compiled::operator()(std::vector<Tensor> inputs) const {
  const trace::Span span("eval", "compiled");
  if (numeric_checks()) {  // step by step, with the lines of the function
    std::vector<Tensor> outputs = state_->function(inputs);
    eval(outputs, History::drop);
    return outputs;
  }
  Bound bound(*state_, std::move(inputs));
  bound.plan->start();
  bound.plan->finish();
  return bound.outputs();
}

std::vector<Tensor> Compiled::submit(std::vector<Tensor> inputs, const Stream& stream) const {
  const trace::Span span("eval", "compiled: submit");
  if (numeric_checks()) {
    std::vector<Tensor> outputs = state_->function(inputs);
    eval_async(outputs, stream, History::drop);
    return outputs;
  }
  StreamQueue& queue = stream.queue();
  queue.wait_for_room();
  const auto completion = std::make_shared<Completion>(queue.shared_from_this());
  const ThreadsScope threads(queue.threads());
  auto work = std::make_unique<BoundWork>(*state_, std::move(inputs));
  const std::uint64_t bytes = work->bytes();
  BoundWork& bound = *work;
  std::vector<Tensor> outputs;
  queue.submit(std::move(work), completion, bytes, [&] { outputs = bound.publish(completion); });
  return outputs;
}

std::size_t Compiled::forms() const {
  std::lock_guard lock(state_->mutex);
  return state_->kept.size();
}

}  // namespace wick
