#pragma once

namespace wick {

/// While one lives, evaluations on this thread decompose every composite op, also where the backend has a
/// fused kernel: how tests compare the two.
class DecomposeScope {
 public:
  DecomposeScope();
  ~DecomposeScope();
  DecomposeScope(const DecomposeScope&) = delete;
  DecomposeScope& operator=(const DecomposeScope&) = delete;
  static bool active() noexcept;

 private:
  bool previous_;
};

}  // namespace wick
