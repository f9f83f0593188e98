#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/options.h"
#include "wick/error.h"
#include "wick/tokenizer.h"

namespace wick::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  bool no_special = false;
  bool plain_text = false;
  bool json = false;
};

std::string read_standard_input() {
  std::string text;
  std::array<char, 65536> piece;
  for (std::size_t n; (n = std::fread(piece.data(), 1, piece.size(), stdin)) > 0;)
    text.append(piece.data(), n);
  if (std::ferror(stdin)) throw FileError("cannot read standard input");
  return text;
}

void run_tokenize(const TokenizeFlags& options) {
  const Tokenizer tokenizer = Tokenizer::from_directory(options.model);
  const std::string text = options.text ? *options.text : read_standard_input();
  const std::vector<std::int32_t> ids =
      tokenizer.encode(text, {.add_special = !options.no_special, .parse_special = !options.plain_text});
  const std::string decoded = tokenizer.decode(ids);
  if (options.json) {
    print_line(nlohmann::json{{"ids", ids}, {"text", decoded}}.dump());
    return;
  }
  print_line(fmt::format("{}", fmt::join(ids, " ")));
  print_line(decoded);
}

}  // namespace

void add_tokenize(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tokenize", "Print the token ids of a text, and the text that they decode to");
  auto options = std::make_shared<TokenizeFlags>();
  command->add_option("--model", options->model, "Model directory (its tokenizer.json)")->required();
  command->add_option("text", options->text, "Text; standard input when absent");
  command->add_flag("--no-special", options->no_special, "Do not add <s> and the like");
  command->add_flag("--plain-text", options->plain_text,
                    "Text that spells a special token is text, as in `generate` and `train`");
  command->add_flag("--json", options->json, "Print one JSON object: ids, text");
  command->footer(
      "Examples:\n"
      "  wick tokenize --model models/base \"Once upon a time\"\n"
      "  wick tokenize --model models/base --json < story.txt");
  command->callback([options] { run_tokenize(*options); });
}

}  // namespace wick::cli
