#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "optimize/pass.h"

namespace wick::test {

/// The CPU's backend as if it had kernels for some more ops, and none for others: what a pass makes of a
/// graph where a backend does.
class BackendWith : public Backend {
 public:
  explicit BackendWith(std::vector<std::string_view> ops, std::vector<std::string_view> without = {})
      : without_(std::move(without)) {
    for (std::string_view op : ops) entries_.push_back({.op = op, .prepare = nullptr});
  }
  PassContext context() const { return {*this, false}; }

  std::string_view name() const override { return "test"; }
  const KernelEntry* find(const Op& op) const override {
    for (const KernelEntry& entry : entries_)
      if (entry.op == op.name) return &entry;
    const bool lacks = std::find(without_.begin(), without_.end(), op.name) != without_.end();
    return lacks ? nullptr : cpu_backend().find(op);
  }
  bool can_group(const Op& op, InputSpecs inputs, const Spec& output) const override {
    return cpu_backend().can_group(op, inputs, output);
  }
  std::shared_ptr<Storage> allocate(std::size_t bytes) const override {
    return cpu_backend().allocate(bytes);
  }
  void upload(const void* host, std::byte* to, std::size_t bytes) const override {
    cpu_backend().upload(host, to, bytes);
  }
  void download(const std::byte* from, void* host, std::size_t bytes) const override {
    cpu_backend().download(from, host, bytes);
  }
  std::unique_ptr<Program> make_program(std::span<const Step> steps,
                                        std::span<const BaseUse> bases) const override {
    return cpu_backend().make_program(steps, bases);
  }
  MemoryUse memory_use() const override { return cpu_backend().memory_use(); }
  void reset_peak() const override { cpu_backend().reset_peak(); }
  void release_kept_memory() const override { cpu_backend().release_kept_memory(); }

 private:
  std::vector<KernelEntry> entries_;
  std::vector<std::string_view> without_;
};

}  // namespace wick::test
