#pragma once

#include <CLI/CLI.hpp>

// One file a command: each adds its subcommand, whose callback does the work and throws wick::Error.
namespace wick::cli {

void add_train(CLI::App& app);
void add_generate(CLI::App& app);
void add_eval(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_merge(CLI::App& app);
void add_inspect(CLI::App& app);
void add_explain(CLI::App& app);
void add_devices(CLI::App& app);
void add_completion(CLI::App& app);
void add_man_page(CLI::App& app);

}  // namespace wick::cli
