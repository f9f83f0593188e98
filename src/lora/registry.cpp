#include <fmt/format.h>

#include "wick/error.h"
#include "wick/lora.h"

namespace wick {

void AdapterRegistry::load(const std::string& name, const std::filesystem::path& directory) {
  add(name, LoraAdapter::load(directory, *model_));
}

void AdapterRegistry::add(const std::string& name, LoraAdapter adapter) {
  if (name.empty()) throw ArgumentError("an adapter needs a name");
  if (!adapters_.emplace(name, std::move(adapter)).second)
    throw ArgumentError(fmt::format("an adapter named \"{}\" is loaded already; remove it first", name));
}

void AdapterRegistry::remove(const std::string& name) {
  at(name);
  adapters_.erase(name);
  if (active_ == name) active_.clear();
}

const LoraAdapter& AdapterRegistry::at(const std::string& name) const {
  const auto it = adapters_.find(name);
  if (it != adapters_.end()) return it->second;
  std::string known;
  for (const std::string& n : names()) known += (known.empty() ? "" : ", ") + n;
  throw ArgumentError(
      fmt::format("no adapter is named \"{}\"; loaded are: {}", name, known.empty() ? "none" : known));
}

void AdapterRegistry::activate(const std::string& name) {
  if (!name.empty()) at(name);
  active_ = name;
}

const LoraAdapter* AdapterRegistry::active() const {
  return active_.empty() ? nullptr : &adapters_.at(active_);
}

std::vector<std::string> AdapterRegistry::names() const {
  std::vector<std::string> list;
  for (const auto& [name, adapter] : adapters_) list.push_back(name);
  return list;
}

}  // namespace wick
