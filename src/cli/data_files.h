#pragma once

#include <filesystem>

#include "wick/dataset.h"

namespace wick::cli {

/// Reads a data file; text is encoded with the tokenizer of `model`, which tokenised files do not need.
Dataset load_dataset(const std::filesystem::path& file, const std::filesystem::path& model,
                     const DatasetOptions& options);

}  // namespace wick::cli
