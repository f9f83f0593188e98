#include "cli/data_files.h"

#include "wick/tokenizer.h"

namespace wick::cli {

Dataset load_dataset(const std::filesystem::path& file, const std::filesystem::path& model,
                     const DatasetOptions& options) {
  if (file.extension() == ".safetensors") return Dataset::load(file, {}, options);
  return Dataset::load(file, text_encoder(Tokenizer::from_directory(model)), options);
}

}  // namespace wick::cli
