#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/file_lock.h"
#include "io/mapped_file.h"
#include "io/read_file.h"
#include "io/safetensors_bytes.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/temporary_directory.h"
#include "wick/error.h"

namespace wick::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  return names;
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a";
  write_file_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_text(path), "old");
    EXPECT_EQ(names_in(directory.path()).size(), 2u);
  }
  EXPECT_EQ(read_text(path), "old");
  AtomicFile file(path);
  file.write("ne");
  file.write("w");
  file.commit();
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"a"});
}

TEST(AtomicFile, HasTheModeThatTheUserAsksFor) {
  const TemporaryDirectory directory;
  const mode_t mask = ::umask(027);
  write_file_atomically(directory / "a", "x");
  ::umask(mask);
  EXPECT_EQ(fs::status(directory / "a").permissions(), fs::perms(0640));
}

TEST(AtomicFile, WorksInTheCurrentDirectory) {
  const TemporaryDirectory directory;
  const fs::path before = fs::current_path();
  fs::current_path(directory.path());
  write_file_atomically("a", "x");
  fs::current_path(before);
  EXPECT_EQ(read_text(directory / "a"), "x");
}

TEST(AtomicFile, FailuresNameThePathAndLeaveNothing) {
  const TemporaryDirectory directory;
  const std::string path = (directory / "a").string();
  write_file_atomically(path, "old");
  {
    const FileSizeLimit limit(10);
    EXPECT_EQ(error_text<FileError>([&] { write_file_atomically(path, std::string(11, 'x')); }),
              "cannot write '" + path + "': File too large");
  }
  EXPECT_EQ(read_text(path), "old");
  const std::string folder = (directory / "folder").string();
  fs::create_directory(folder);
  EXPECT_EQ(error_text<FileError>([&] { write_file_atomically(folder, "x"); }),
            "cannot replace '" + folder + "': Is a directory");
  EXPECT_EQ(names_in(directory.path()).size(), 2u);
}

TEST(AtomicFile, ADeviceOrPipeIsNotReplaced) {
  const TemporaryDirectory directory;
  const fs::path pipe = directory / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(error_text<FileError>([&] { write_file_atomically(pipe, "text"); }),
            "cannot write '" + pipe.string() + "': it is not a regular file; choose another path");
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"pipe"});
}

TEST(AtomicFile, WritersOfOnePathDoNotMix) {
  const TemporaryDirectory directory;
  const auto write = [&](char c) {
    for (int i = 0; i < 50; ++i) write_file_atomically(directory / "a", std::string(100'000, c));
  };
  std::thread other(write, 'x');
  write('y');
  other.join();
  const std::string content = read_text(directory / "a");
  EXPECT_EQ(content, std::string(100'000, content[0]));
  EXPECT_EQ(names_in(directory.path()).size(), 1u);
}

TEST(AtomicFile, AKilledWriterLeavesTheOldOrTheNewFile) {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a";
  write_file_atomically(path, std::string(1'000'000, 'a'));
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        write_file_atomically(path, std::string(1'000'000, c));
      }
    }
    ::usleep(static_cast<useconds_t>(1000 + 700 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string content = read_text(path);
    EXPECT_EQ(content, std::string(1'000'000, content.empty() ? '?' : content[0]));
  }
}

TEST(ReadFile, RefusesWhatIsNotARegularFile) {
  const TemporaryDirectory directory;
  const std::string pipe = (directory / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string text = "cannot read '" + pipe + "': it is not a regular file";
  EXPECT_EQ(error_text<FileError>([&] { read_file(pipe, 100); }), text);
  EXPECT_EQ(error_text<FileError>([&] { MappedFile::open(pipe); }), text);
}

TEST(MappedFile, MapsEmptyFilesAndOutlivesTheName) {
  const TemporaryDirectory directory;
  write_text(directory / "empty", "");
  EXPECT_TRUE(MappedFile::open(directory / "empty")->bytes().empty());
  write_text(directory / "a", "content");
  const auto mapped = MappedFile::open(directory / "a");
  fs::remove(directory / "a");
  EXPECT_EQ(std::to_integer<char>(mapped->bytes()[6]), 't');
}

TEST(Checksum, IsThe128BitXxh3) {
  // As the xxhash package for Python gives them.
  EXPECT_EQ(checksum_of({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(checksum_of(bytes_of("wick")), "89498d424d0851ebc677c9047fc3e4d8");
  const TemporaryDirectory directory;
  const std::string content(3'000'000, 'w');
  write_text(directory / "a", content);
  Checksum pieces;
  pieces.update(bytes_of(content).first(1));
  pieces.update(bytes_of(content).subspan(1));
  EXPECT_EQ(pieces.hex(), "2429cf4e97634e431cd038e93fed8d74");
  EXPECT_EQ(checksum_of(bytes_of(content)), pieces.hex());
  EXPECT_EQ(checksum_of_file(directory / "a"), pieces.hex());
}

TEST(DirectoryLock, TheSecondIsToldWhoHasIt) {
  const TemporaryDirectory directory;
  std::optional<DirectoryLock> first(directory.path());
  const std::string text = error_text<FileError>([&] { DirectoryLock second(directory.path()); });
  EXPECT_THAT(text, ::testing::StartsWith("'" + directory.path().string() + "' is in use by process " +
                                          std::to_string(::getpid()) + " on "));
  first.reset();
  EXPECT_NO_THROW(DirectoryLock(directory.path()));
}

TEST(DirectoryLock, EndsWithItsProcess) {
  const TemporaryDirectory directory;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const DirectoryLock lock(directory.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT(error_text<FileError>([&] { DirectoryLock lock(directory.path()); }),
              ::testing::HasSubstr("is in use by process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(DirectoryLock(directory.path()));
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace wick::testing
