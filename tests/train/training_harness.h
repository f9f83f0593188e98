#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "support/file_size_limit.h"
#include "support/temporary_directory.h"
#include "train/batches.h"
#include "wick/dataset.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/trainer.h"

namespace wick {

using testing::FileSizeLimit;
using testing::read_text;
using testing::TemporaryDirectory;

/// Two layers of 32 with random weights, a vocabulary of 64 and 64 positions.
Model tiny_model(std::uint64_t seed = 1);
/// Rank 4 on q_proj and v_proj, with factors that are not zero.
LoraAdapter tiny_adapter(const Model& model, double dropout = 0);
/// Documents of different lengths, one token a character.
Dataset tiny_data(int documents, int seed = 1);
/// `tiny_data` with options that train fast: batches of 3, constant learning rate 1e-2.
TrainOptions tiny_options(const std::filesystem::path& out, std::int64_t steps);

/// Writes a tokenised file [steps, batch, length] and loads it.
Dataset grid_data(const std::filesystem::path& file, const BatchGrid& grid,
                  const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& labels);

/// Runs `f`, which must throw E, and returns what it says.
template <typename E, typename F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

/// Flips the lowest bit of byte `at`.
void flip_bit(const std::filesystem::path& file, std::uint64_t at);

}  // namespace wick
