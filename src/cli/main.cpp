#include <fmt/format.h>

#include <csignal>
#include <exception>
#include <iostream>
#include <new>

#include "cli/commands.h"
#include "cli/options.h"
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
  for (auto add : {add_train, add_generate, add_eval, add_tokenize, add_merge, add_inspect, add_explain,
                   add_devices, add_completion, add_man_page})
    add(app);
  wick::exit_when_a_mapped_file_shrinks();
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error of write, with a message
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    const int status = app.exit(e);
    if (std::cout.flush()) return status;
    print_error_line("wick: error: cannot write to standard output");
    return 1;
  } catch (const CLI::ParseError& e) {
    const auto chosen = app.get_subcommands();
    const auto unknown = app.remaining();
    const bool no_such_command = chosen.empty() && !unknown.empty();
    print_error_line(no_such_command ? fmt::format("wick: error: there is no command '{}'", unknown.front())
                                     : fmt::format("wick: error: {}", e.what()));
    print_error_line(fmt::format("Run `wick {}--help` to see what it takes.",
                                 chosen.empty() ? "" : chosen[0]->get_name() + " "));
    return 2;
  } catch (const std::bad_alloc&) {
    print_error_line("wick: error: out of memory");
    return 1;
  } catch (const std::exception& e) {
    print_error_line(fmt::format("wick: error: {}", e.what()));
    return 1;
  }
  return 0;
}
