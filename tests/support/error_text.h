#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace wick::testing {

/// The text of the E that `f` throws; anything else, or nothing, fails the test.
template <typename E, typename F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type of error was thrown: " << error.what();
    return {};
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

}  // namespace wick::testing
