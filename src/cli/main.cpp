#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

#include "cli/commands.h"
#include "wick/safetensors.h"

int main(int argc, char** argv) {
  CLI::App app("LoRA fine-tuning, text generation and evaluation of language models, without Python.",
               "wick");
  app.set_version_flag("--version", std::string("wick ") + WICK_VERSION, "Print the version and exit");
  app.set_help_all_flag("--help-all", "Print the help of every command and exit");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  wick train --model models/base --data train.jsonl --out runs/first\n"
      "  wick generate --model models/base --adapter runs/first --prompt \"Once upon a time\"\n"
      "`wick COMMAND --help` explains a command.");
  using namespace wick::cli;
  for (auto add : {add_train, add_generate, add_eval, add_tokenize, add_merge, add_inspect, add_devices,
                   add_completion, add_man_page})
    add(app);
  wick::exit_when_a_mapped_file_shrinks();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    fmt::print(stderr, "wick: error: {}\n", e.what());
    const auto chosen = app.get_subcommands();
    fmt::print(stderr, "Run `wick {}--help` to see what it takes.\n",
               chosen.empty() ? "" : chosen[0]->get_name() + " ");
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "wick: error: out of memory\n");
    return 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "wick: error: {}\n", e.what());
    return 1;
  }
  return 0;
}
