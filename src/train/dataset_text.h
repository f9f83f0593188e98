#pragma once

#include <string>
#include <string_view>

#include "train/dataset_storage.h"

namespace wick {

/// Turns texts into rows of a storage. `place` ("train.jsonl:17") begins the message of every DataError.
class DocumentWriter {
 public:
  /// Throws ConfigError when the encoder's special tokens are outside the vocabulary.
  DocumentWriter(const TextEncoder& encoder, const DatasetOptions& options, DatasetStorage& storage);

  /// A document that is learned whole; an empty one is skipped and counted.
  void add_text(std::string_view text, const std::string& place);
  void add_prompt_and_completion(const std::string& prompt, const std::string& completion,
                                 const std::string& place);

 private:
  bool in_vocabulary(std::int32_t id) const;
  std::vector<std::int32_t> encode(std::string_view text, const std::string& place) const;
  void append(const std::vector<std::int32_t>& ids, bool learned);
  void begin_row();
  void end_row(bool learned, bool may_split);

  const TextEncoder& encoder_;
  const DatasetOptions& options_;
  DatasetStorage& storage_;
  std::size_t begin_ = 0;
};

}  // namespace wick
