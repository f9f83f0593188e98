#include "train/dataset_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "wick/error.h"

namespace wick {

DocumentWriter::DocumentWriter(const TextEncoder& encoder, const DatasetOptions& options,
                               DatasetStorage& storage)
    : encoder_(encoder), options_(options), storage_(storage) {
  for (std::int32_t id : {encoder.eos, encoder.bos.value_or(encoder.eos)})
    if (!in_vocabulary(id))
      throw ConfigError(
          fmt::format("the tokenizer's special token {} is not among the model's {} tokens; they do not "
                      "belong together",
                      id, options.vocab_size));
}

bool DocumentWriter::in_vocabulary(std::int32_t id) const {
  return options_.vocab_size == 0 || (id >= 0 && id < options_.vocab_size);
}

void DocumentWriter::add_text(std::string_view text, const std::string& place) {
  if (text.empty()) {
    ++storage_.skipped_rows;
    return;
  }
  begin_row();
  append(encode(text, place), true);
  end_row(true, true);
}

void DocumentWriter::add_prompt_and_completion(const std::string& prompt, const std::string& completion,
                                               const std::string& place) {
  // Generation starts from the ids of the prompt alone, so these must begin the row. Where the ids of the
  // whole text do, their rest is the completion as the tokenizer writes it after other text;
  // SentencePiece-style tokenizers put a space before a text that stands alone.
  const std::vector<std::int32_t> prompt_ids = encode(prompt, place);
  std::vector<std::int32_t> completion_ids = encode(prompt + completion, place);
  if (completion_ids.size() >= prompt_ids.size() &&
      std::equal(prompt_ids.begin(), prompt_ids.end(), completion_ids.begin()))
    completion_ids.erase(completion_ids.begin(),
                         completion_ids.begin() + static_cast<std::ptrdiff_t>(prompt_ids.size()));
  else
    completion_ids = encode(completion, place);
  begin_row();
  append(prompt_ids, options_.loss_on_prompt);
  append(completion_ids, true);
  end_row(options_.loss_on_prompt, false);
}

std::vector<std::int32_t> DocumentWriter::encode(std::string_view text, const std::string& place) const {
  std::vector<std::int32_t> ids;
  try {
    ids = encoder_.encode(text);
  } catch (const Error& error) {
    throw DataError(fmt::format("{}: {}", place, error.what()));
  }
  for (std::int32_t id : ids)
    if (!in_vocabulary(id))
      throw DataError(
          fmt::format("{}: the tokenizer gives id {}, but the model has {} tokens; they do not belong "
                      "together",
                      place, id, options_.vocab_size));
  return ids;
}

void DocumentWriter::begin_row() {
  begin_ = storage_.ids.size();
  if (encoder_.bos) append({*encoder_.bos}, false);
}

void DocumentWriter::append(const std::vector<std::int32_t>& ids, bool learned) {
  storage_.ids.insert(storage_.ids.end(), ids.begin(), ids.end());
  if (learned)
    storage_.labels.insert(storage_.labels.end(), ids.begin(), ids.end());
  else
    storage_.labels.resize(storage_.ids.size(), ignored_label);
}

void DocumentWriter::end_row(bool learned, bool may_split) {
  if (learned && encoder_.bos) storage_.labels[begin_] = *encoder_.bos;
  append({encoder_.eos}, true);
  storage_.rows.push_back({begin_, storage_.ids.size() - begin_, may_split});
}

void read_txt(std::string_view content, const std::string& name, const TextEncoder& encoder,
              const DatasetOptions& options, DatasetStorage& storage) {
  constexpr std::string_view separator = "<|endoftext|>";
  DocumentWriter writer(encoder, options, storage);
  std::string document;
  std::size_t first_line = 1;
  std::size_t line_number = 0;
  const auto end_document = [&] {
    // Nothing but space beside a separator is no document, so nothing to count.
    if (document.find_first_not_of(" \t\r\n") != std::string::npos)
      writer.add_text(document, fmt::format("{}:{}", name, first_line));
    document.clear();
    first_line = line_number + 1;
  };
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  while (!content.empty()) {
    const std::size_t newline = content.find('\n');
    const bool ended = newline != std::string_view::npos;
    std::string_view line = content.substr(0, newline);
    content.remove_prefix(ended ? newline + 1 : content.size());
    if (ended && line.ends_with('\r')) line.remove_suffix(1);
    ++line_number;
    if (line == separator) {
      end_document();
    } else {
      document += line;
      if (ended) document += '\n';
    }
  }
  end_document();
}

}  // namespace wick
