#include "graph/scope_names.h"

#include <deque>
#include <mutex>
#include <unordered_map>

#include "core/trace.h"
#include "wick/name_scope.h"

namespace wick {
namespace {

constexpr std::size_t most_names = 100'000;

/// The paths of all scopes by number. Thread-safe.
class ScopeNames {
 public:
  static ScopeNames& instance() {
    // Never destroyed: graphs may be walked when the process ends.
    static ScopeNames& names = *new ScopeNames;
    return names;
  }

  std::uint32_t inside(std::uint32_t parent, std::string_view name) {
    std::lock_guard lock(mutex_);
    std::string path = paths_[parent / 2];
    if (!path.empty()) path += '/';
    path += name;
    const auto found = numbers_.find(path);
    if (found != numbers_.end()) return found->second;
    if (paths_.size() >= most_names) return parent;
    const auto number = static_cast<std::uint32_t>(2 * paths_.size());
    paths_.push_back(std::move(path));
    numbers_.emplace(paths_.back(), number);
    return number;
  }

  std::string path(std::uint32_t scope) {
    std::lock_guard lock(mutex_);
    return paths_[scope / 2];
  }

 private:
  std::mutex mutex_;
  std::deque<std::string> paths_{""};
  std::unordered_map<std::string_view, std::uint32_t> numbers_{{paths_.front(), 0}};
};

}  // namespace

std::string scope_path(std::uint32_t scope) { return ScopeNames::instance().path(scope); }

NameScope::NameScope(std::string_view name) : previous_(recording_scope()) {
  recording_scope() = ScopeNames::instance().inside(previous_, name);
  if (trace::active()) begin_ = trace::now();
}

NameScope::~NameScope() {
  if (begin_ != 0) {
    trace::Event event{.category = "record", .name = "record", .begin = begin_, .end = trace::now()};
    event.where.scope = recording_scope();
    trace::add(event);
  }
  recording_scope() = previous_;
}

}  // namespace wick
