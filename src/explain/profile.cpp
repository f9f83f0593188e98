#include "wick/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "explain/profile_data.h"
#include "graph/record.h"
#include "graph/scope_names.h"
#include "io/atomic_file.h"
#include "wick/error.h"

namespace wick {
namespace {

std::vector<ProfiledStep> describe_steps(const Plan& plan) {
  std::vector<ProfiledStep> described;
  described.reserve(plan.steps.size());
  for (const Step& step : plan.steps) {
    const GraphNode& node = plan.graph.nodes[step.node];
    ProfiledStep out;
    out.op = op_of(plan, step).name;
    // A copy of an input that is an output has no op.
    if (node.op) out.call = describe_call(*node.op, plan.graph.input_specs(node), node.attrs, node.where);
    if (step.is_copy()) out.call = out.call.empty() ? "copy of an input" : "row-major copy for " + out.call;
    out.scope = scope_path(node.where.scope) + (is_gradient(node.where) ? " (gradient)" : "");
    out.cost = cost_of(plan, step);
    out.floor_seconds = floor_seconds(out.cost, plan.graph.device);
    described.push_back(std::move(out));
  }
  return described;
}

std::vector<OpTime> times_by_op(const Profile::Data& data) {
  std::map<std::string, OpTime> by_op;
  for (std::size_t s = 0; s < data.steps.size(); ++s)
    for (std::size_t i = 0; i < data.steps[s].size(); ++i) {
      const ProfiledStep& step = data.steps[s][i];
      const trace::Total& total = data.recording.subjects[s].parts[i];
      if (total.count == 0) continue;
      const auto count = static_cast<double>(total.count);
      OpTime& op = by_op[step.op];
      op.op = step.op;
      op.calls += total.count;
      op.seconds += static_cast<double>(total.nanoseconds) * 1e-9;
      op.flops += step.cost.flops * count;
      op.bytes += step.cost.bytes * count;
      op.floor_seconds += step.floor_seconds * count;
    }
  std::vector<OpTime> ops;
  ops.reserve(by_op.size());
  for (auto& [name, op] : by_op) ops.push_back(std::move(op));
  std::stable_sort(ops.begin(), ops.end(),
                   [](const OpTime& a, const OpTime& b) { return a.seconds > b.seconds; });
  return ops;
}

std::string span_name(const trace::Event& event) {
  if (event.category == "step") return "steps of plans";
  if (event.category == "record") return "recording ops";
  if (event.category == "pass") return "optimise";
  return std::string(event.name);
}

std::string row(const std::string& name, std::uint64_t count, double seconds, double of) {
  return fmt::format("{:<34} {:>9} {:>11.3f} {:>6.1f}%", name, count, seconds * 1e3,
                     of > 0 ? 100 * seconds / of : 0);
}

}  // namespace

std::vector<SpanTime> self_times(const trace::Recording& recording) {
  std::vector<const trace::Event*> order;
  order.reserve(recording.events.size());
  for (const trace::Event& event : recording.events) order.push_back(&event);
  std::stable_sort(order.begin(), order.end(), [](const trace::Event* a, const trace::Event* b) {
    if (a->thread != b->thread) return a->thread < b->thread;
    return a->begin != b->begin ? a->begin < b->begin : a->end > b->end;
  });
  std::map<std::string, SpanTime> by_name;
  struct Open {
    const trace::Event* event;
    SpanTime* time;
  };
  std::vector<Open> around;
  for (const trace::Event* event : order) {
    while (!around.empty() &&
           (around.back().event->thread != event->thread || around.back().event->end <= event->begin))
      around.pop_back();
    const double seconds = static_cast<double>(event->end - event->begin) * 1e-9;
    if (!around.empty()) around.back().time->seconds -= seconds;
    SpanTime& time = by_name[span_name(*event)];
    time.name = span_name(*event);
    ++time.count;
    time.seconds += seconds;
    around.push_back({event, &time});
  }
  std::vector<SpanTime> times;
  times.reserve(by_name.size());
  for (auto& [name, time] : by_name) times.push_back(std::move(time));
  std::stable_sort(times.begin(), times.end(),
                   [](const SpanTime& a, const SpanTime& b) { return a.seconds > b.seconds; });
  return times;
}

double Profile::seconds() const noexcept {
  return static_cast<double>(data_->recording.end - data_->recording.begin) * 1e-9;
}

const std::vector<OpTime>& Profile::ops() const noexcept { return data_->ops; }

std::uint64_t Profile::dropped_events() const noexcept { return data_->recording.dropped; }

std::string Profile::summary() const {
  std::string text =
      fmt::format("{:<34} {:>9} {:>11} {:>7}\n", "engine (time of its own)", "spans", "ms", "share");
  for (const SpanTime& time : self_times(data_->recording))
    text += row(time.name, time.count, time.seconds, seconds()) + "\n";
  text += fmt::format("{:<34} {:>9} {:>11.3f}\n", "from start to end", "", seconds() * 1e3);
  if (dropped_events() > 0)
    text += fmt::format(
        "(the trace and the table above lack {} spans beyond the limit of {}; the table below "
        "counts all steps)\n",
        dropped_events(), data_->recording.events.size());
  double total = 0;
  for (const OpTime& op : ops()) total += op.seconds;
  text += fmt::format("\n{:<34} {:>9} {:>11} {:>7} {:>9} {:>8} {:>9}\n", "steps by op", "calls", "ms",
                      "share", "GFLOP/s", "GB/s", "of floor");
  for (const OpTime& op : ops()) {
    const double seconds = std::max(op.seconds, 1e-9);
    text += row(op.op, op.calls, op.seconds, total);
    text += fmt::format(" {:>9.1f} {:>8.1f} {:>9}\n", op.flops / seconds * 1e-9, op.bytes / seconds * 1e-9,
                        op.floor_seconds > 0 ? fmt::format("{:.0f}%", 100 * op.floor_seconds / seconds) : "");
  }
  return text;
}

void Profile::write(const std::filesystem::path& file) const { write_file_atomically(file, trace_json()); }

Profiler::Profiler(const ProfileOptions& options) { trace::start(options.max_events); }

Profiler::~Profiler() {
  if (running_) trace::stop();
}

Profile Profiler::stop() {
  if (!running_) throw ArgumentError("this profiler was stopped already");
  running_ = false;
  auto data = std::make_shared<Profile::Data>();
  data->recording = trace::stop();
  for (const trace::Subject& subject : data->recording.subjects)
    data->steps.push_back(describe_steps(*std::static_pointer_cast<const Plan>(subject.thing)));
  data->ops = times_by_op(*data);
  return Profile(std::move(data));
}

}  // namespace wick
