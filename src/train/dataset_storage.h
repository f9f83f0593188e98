#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wick/dataset.h"

namespace wick {

/// The rows of one file, one after the other.
struct DatasetStorage {
  struct Row {
    std::size_t begin = 0;
    std::size_t length = 0;
    bool may_split = false;
  };

  std::filesystem::path path;
  std::string checksum;
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> labels;
  std::vector<Row> rows;
  std::int64_t skipped_rows = 0;
  std::optional<BatchGrid> grid;
};

/// Readers of the formats; each fills ids, labels, rows, skipped_rows and grid. `name` stands for the file in
/// errors.
void read_jsonl(std::string_view content, const std::string& name, const TextEncoder& encoder,
                const DatasetOptions& options, DatasetStorage& storage);
void read_txt(std::string_view content, const std::string& name, const TextEncoder& encoder,
              const DatasetOptions& options, DatasetStorage& storage);
void read_tokenized(const std::filesystem::path& path, const DatasetOptions& options,
                    DatasetStorage& storage);

}  // namespace wick
