#include <fmt/format.h>

#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "explain/profile_data.h"
#include "graph/scope_names.h"

namespace wick {
namespace {

/// As a JSON string, with its quotes.
std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The arguments of a step that are the same each time it runs.
std::string fixed_arguments(const ProfiledStep& step) {
  return fmt::format(R"("call":{},"part":{},"FLOP":{:.0f},"bytes":{:.0f},"floor us":{:.3f})",
                     json_text(step.call), json_text(step.scope), step.cost.flops, step.cost.bytes,
                     step.floor_seconds * 1e6);
}

std::string event_name(const trace::Event& event) {
  const std::string scope = event.category == "record" ? scope_path(event.where.scope) : "";
  return json_text(scope.empty() ? std::string(event.name) : "record " + scope);
}

std::string line_of(const SourceLocation& where) {
  return where.line > 0
             ? fmt::format(R"("recorded at":{})", json_text(fmt::format("{}:{}", where.file, where.line)))
             : "";
}

std::string metadata(std::string_view what, std::uint32_t thread, const std::string& name) {
  return fmt::format(R"({{"ph":"M","pid":1,"tid":{},"name":"{}","args":{{"name":{}}}}})", thread, what,
                     json_text(name));
}

/// Threads that did nothing but execute one stream's jobs are its worker.
std::string thread_names(const trace::Recording& recording) {
  std::map<std::uint32_t, std::set<std::int32_t>> streams;
  for (const trace::Event& event : recording.events) streams[event.thread].insert(event.stream);
  std::string text = metadata("process_name", recording.starter, "wick");
  for (const auto& [thread, seen] : streams) {
    const bool is_worker = thread != recording.starter && seen.size() == 1 && *seen.begin() > 0;
    const std::string name = thread == recording.starter ? "started the profile"
                             : is_worker                 ? fmt::format("worker of stream {}", *seen.begin())
                                                         : fmt::format("thread {}", thread);
    text += ",\n" + metadata("thread_name", thread, name);
  }
  return text;
}

}  // namespace

std::string Profile::trace_json() const {
  const trace::Recording& recording = data_->recording;
  std::vector<std::vector<std::string>> fixed;
  for (const auto& steps : data_->steps) {
    auto& texts = fixed.emplace_back();
    for (const ProfiledStep& step : steps) texts.push_back(fixed_arguments(step));
  }
  std::string text = "{\"displayTimeUnit\":\"ms\",\n";
  text += fmt::format("\"otherData\":{{\"dropped events\":{}}},\n\"traceEvents\":[\n", recording.dropped);
  text += thread_names(recording);
  const auto out = std::back_inserter(text);
  for (const trace::Event& event : recording.events) {
    const double us = static_cast<double>(event.end - event.begin) * 1e-3;
    fmt::format_to(out,
                   ",\n"
                   R"({{"ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"{}",)",
                   event.thread, static_cast<double>(event.begin - recording.begin) * 1e-3, us,
                   event.category);
    std::string arguments = event.stream > 0 ? fmt::format(R"("stream":{})", event.stream) : "";
    const auto add = [&](const std::string& more) {
      if (!more.empty()) arguments += (arguments.empty() ? "" : ",") + more;
    };
    if (event.subject == trace::no_subject) {
      add(line_of(event.where));
      fmt::format_to(out, "\"name\":{},", event_name(event));
    } else {
      const ProfiledStep& step = data_->steps[event.subject][event.index];
      add(fixed[event.subject][event.index]);
      if (us > 0)
        add(fmt::format(R"("GFLOP/s":{:.3f},"GB/s":{:.3f})", step.cost.flops / us * 1e-3,
                        step.cost.bytes / us * 1e-3));
      fmt::format_to(out, "\"name\":{},", json_text(step.op));
    }
    fmt::format_to(out, "\"args\":{{{}}}}}", arguments);
  }
  return text + "\n]}\n";
}

}  // namespace wick
