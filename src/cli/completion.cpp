#include <fmt/format.h>

#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "wick/error.h"

namespace wick::cli {
namespace {

/// Long flags of a command.
std::vector<const CLI::Option*> flags_of(const CLI::App& command) {
  std::vector<const CLI::Option*> flags;
  for (const CLI::Option* option : command.get_options())
    if (!option->get_lnames().empty()) flags.push_back(option);
  return flags;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  std::vector<const CLI::App*> commands;
  for (const CLI::App* command : app.get_subcommands({}))
    if (!command->get_group().empty()) commands.push_back(command);
  return commands;
}

std::string flag_words(const CLI::App& command) {
  std::string words;
  for (const CLI::Option* flag : flags_of(command))
    words += (words.empty() ? "--" : " --") + flag->get_lnames()[0];
  return words;
}

std::string bash_script(const CLI::App& app) {
  std::string names;
  std::string cases;
  for (const CLI::App* command : commands_of(app)) {
    names += (names.empty() ? "" : " ") + command->get_name();
    cases += fmt::format("    {}) words=\"{}\" ;;\n", command->get_name(), flag_words(*command));
  }
  return fmt::format(
      "_wick() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} words\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    words=\"{} {}\"\n"
      "  else\n"
      "  case ${{COMP_WORDS[1]}} in\n{}"
      "  esac\n"
      "  fi\n"
      "  if [[ $current == -* || $COMP_CWORD -eq 1 ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "  else\n"
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
      "  fi\n"
      "}}\n"
      "complete -o filenames -F _wick wick",
      names, flag_words(app), cases);
}

/// `text` for a single-quoted description, without the characters that zsh and fish give a meaning there.
std::string plain(const std::string& text) {
  std::string clean;
  for (char c : text)
    if (c != '\'' && c != '[' && c != ']' && c != ':' && c != '\\') clean += c;
  return clean;
}

std::string zsh_script(const CLI::App& app) {
  std::string names;
  std::string cases;
  for (const CLI::App* command : commands_of(app)) {
    names += fmt::format("    '{}:{}'\n", command->get_name(), plain(command->get_description()));
    cases += fmt::format("    {}) _arguments", command->get_name());
    for (const CLI::Option* flag : flags_of(*command))
      cases += fmt::format(" '--{}[{}]{}'", flag->get_lnames()[0], plain(flag->get_description()),
                           flag->get_expected_max() > 0 ? ":value:_files" : "");
    cases += " '*:file:_files' ;;\n";
  }
  return fmt::format(
      "#compdef wick\n"
      "_wick() {{\n"
      "  local -a commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local chosen=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $chosen in\n{}"
      "  esac\n"
      "}}\n"
      "compdef _wick wick",
      names, cases);
}

std::string fish_script(const CLI::App& app) {
  std::string lines;
  for (const CLI::App* command : commands_of(app)) {
    lines += fmt::format("complete -c wick -n __fish_use_subcommand -f -a {} -d '{}'\n", command->get_name(),
                         plain(command->get_description()));
    for (const CLI::Option* flag : flags_of(*command))
      lines += fmt::format("complete -c wick -n '__fish_seen_subcommand_from {}' -l {} -d '{}'{}\n",
                           command->get_name(), flag->get_lnames()[0], plain(flag->get_description()),
                           flag->get_expected_max() > 0 ? " -r" : "");
  }
  lines.pop_back();
  return lines;
}

/// Text for troff: a leading dot and backslashes mean something there.
std::string troff(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    if (c == '\\')
      escaped += "\\e";
    else if (c == '-')
      escaped += "\\-";
    else if (c == '\n')
      escaped += "\n.br\n";
    else
      escaped += c;
  }
  return escaped;
}

std::string man_page(const CLI::App& app) {
  std::string page = fmt::format(
      ".TH WICK 1 \"\" \"wick {}\" \"User Commands\"\n.SH NAME\nwick \\- {}\n.SH SYNOPSIS\n.B wick\n.I "
      "COMMAND\n"
      "[\\fIOPTIONS\\fR]\n.SH COMMANDS\n",
      WICK_VERSION, troff(app.get_description()));
  for (const CLI::App* command : commands_of(app)) {
    page += fmt::format(".SS wick {}\n{}.\n", command->get_name(), troff(command->get_description()));
    for (const CLI::Option* option : command->get_options()) {
      const std::string name =
          option->get_lnames().empty() ? option->get_name() : "--" + option->get_lnames()[0];
      page += fmt::format(".TP\n\\fB{}\\fR\n{}\n", troff(name), troff(option->get_description()));
    }
    page += fmt::format(".PP\n{}\n", troff(command->get_footer()));
  }
  page +=
      ".SH EXIT STATUS\n0 when the work was done, 1 after an error, 2 when the command line was wrong.\n"
      ".SH ENVIRONMENT\n.TP\n\\fBOMP_NUM_THREADS\\fR\nThreads to compute with, where \\-\\-threads is not "
      "given.\n.TP\n\\fBWICK_CHECK_NUMERICS\\fR\nIf 1, as \\-\\-check\\-numerics.";
  return page;
}

}  // namespace

void add_completion(CLI::App& app) {
  CLI::App* command = app.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required();
  command->footer("Example:\n  source <(wick completion bash)");
  command->callback([shell, &app] {
    if (*shell == "bash")
      print_line(bash_script(app));
    else if (*shell == "zsh")
      print_line(zsh_script(app));
    else if (*shell == "fish")
      print_line(fish_script(app));
    else
      throw ArgumentError(fmt::format("completion: \"{}\" is not one of bash, zsh, fish", *shell));
  });
}

void add_man_page(CLI::App& app) {
  CLI::App* command = app.add_subcommand("man-page", "Print the manual page, in troff");
  command->group("");
  command->callback([&app] { print_line(man_page(app)); });
}

}  // namespace wick::cli
