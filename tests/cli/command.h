#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace wick {

struct CommandResult {
  int status = 0;
  std::string out;
  std::string error;
};

/// Text for a shell word.
inline std::string quoted(const std::string& text) {
  std::string word = "'";
  for (char c : text) {
    if (c == '\'')
      word += "'\\''";
    else
      word += c;
  }
  return word + "'";
}

/// Runs the built `wick` with arguments in shell syntax.
inline CommandResult wick_command(const std::string& arguments) {
  const auto error_file =
      std::filesystem::path(::testing::TempDir()) / ("wick-stderr-" + std::to_string(getpid()));
  const std::string line = quoted(WICK_BINARY) + " 2>" + quoted(error_file.string()) + " " + arguments;
  CommandResult result;
  FILE* pipe = popen(line.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start " + line);
  char buffer[4096];
  for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.out.append(buffer, n);
  const int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  std::stringstream error;
  error << std::ifstream(error_file).rdbuf();
  result.error = error.str();
  std::filesystem::remove(error_file);
  return result;
}

/// The model that the project ships.
inline std::string bundled_model() { return std::string(WICK_SOURCE_DIR) + "/models/wick-base"; }

/// A directory of the running test, empty at its start.
inline std::filesystem::path fresh_directory() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const auto path = std::filesystem::path(::testing::TempDir()) /
                    (std::string("wick-") + test->test_suite_name() + "-" + test->name());
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace wick
