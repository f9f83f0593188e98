#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "io/atomic_file.h"
#include "train/checkpoint.h"
#include "train/training_harness.h"
#include "wick/error.h"

namespace wick {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void write_two_files(const fs::path& directory) {
  write_file_atomically(directory / "weights.bin", std::string(1000, 'w'));
  write_file_atomically(directory / "state.json", std::string("{}"));
}

std::string error_of_verify(const CheckpointStore& store, std::int64_t step) {
  try {
    store.verify(step);
  } catch (const FormatError& e) {
    return e.what();
  }
  return "";
}

TEST(CheckpointStore, KeepsTheNewest) {
  const TemporaryDirectory directory;
  CheckpointStore store(directory.path() / "checkpoints");
  EXPECT_THAT(store.steps(), IsEmpty());
  for (std::int64_t step : {5, 10, 15}) store.save(step, write_two_files);
  EXPECT_THAT(store.steps(), ElementsAre(5, 10, 15));
  store.keep_newest(2);
  EXPECT_THAT(store.steps(), ElementsAre(10, 15));
  EXPECT_EQ(store.path(10).filename(), "step-000010");
  EXPECT_EQ(error_of_verify(store, 10), "");
}

TEST(CheckpointStore, AnyFlippedBitIsFoundAndItsFileNamed) {
  const TemporaryDirectory directory;
  CheckpointStore store(directory.path());
  store.save(1, write_two_files);
  for (const char* name : {"weights.bin", "state.json", "manifest.txt"}) {
    const fs::path file = store.path(1) / name;
    for (std::uintmax_t at = 0; at < fs::file_size(file); at += 7) {
      flip_bit(file, at);
      EXPECT_THAT(error_of_verify(store, 1), HasSubstr(file.string() + " is damaged")) << at;
      flip_bit(file, at);
    }
    ASSERT_EQ(error_of_verify(store, 1), "");
  }
}

TEST(CheckpointStore, NamesTheOlderCheckpointThatIsIntact) {
  const TemporaryDirectory directory;
  CheckpointStore store(directory.path());
  for (std::int64_t step : {1, 2, 3}) store.save(step, write_two_files);
  fs::remove(store.path(3) / "weights.bin");
  fs::resize_file(store.path(2) / "weights.bin", 10);
  EXPECT_THAT(error_of_verify(store, 3),
              AllOf(HasSubstr("weights.bin is missing: the checkpoint is not complete"),
                    HasSubstr(store.path(1).string() + " is intact: remove")));
  fs::remove(store.path(1) / "manifest.txt");
  EXPECT_THAT(error_of_verify(store, 3), HasSubstr("No older checkpoint is intact"));
}

TEST(CheckpointStore, RemovesWhatAnInterruptedSaveLeft) {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path() / ".incoming-step-000007" / "deep");
  fs::create_directories(directory.path() / ".outgoing-step-000001");
  fs::create_directories(directory.path() / "step-x");
  const CheckpointStore store(directory.path());
  EXPECT_THAT(store.steps(), IsEmpty());
  EXPECT_FALSE(fs::exists(directory.path() / ".incoming-step-000007"));
  EXPECT_FALSE(fs::exists(directory.path() / ".outgoing-step-000001"));
  EXPECT_TRUE(fs::exists(directory.path() / "step-x"));
}

TEST(CheckpointStore, AFailedSaveLeavesTheOldOne) {
  const TemporaryDirectory directory;
  CheckpointStore store(directory.path());
  store.save(1, write_two_files);
  {
    const FileSizeLimit limit(500);  // weights.bin has 1000 bytes
    EXPECT_THROW(store.save(2, write_two_files), FileError);
  }
  EXPECT_THAT(store.steps(), ElementsAre(1));
  EXPECT_EQ(error_of_verify(store, 1), "");
  EXPECT_FALSE(fs::exists(directory.path() / ".incoming-step-000002"));
  store.save(2, write_two_files);
  EXPECT_EQ(error_of_verify(store, 2), "");
}

}  // namespace
}  // namespace wick
