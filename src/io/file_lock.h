#pragma once

#include <filesystem>

#include "io/file_descriptor.h"

namespace wick {

/// Exclusive use of a directory, among all processes that ask for it the same way, for this object's
/// lifetime. The system lets go of it when the process ends in any way. Leaves a small file ".wick.lock" in
/// the directory.
class DirectoryLock {
 public:
  /// Throws FileError that says which process holds the directory when another lock has it.
  explicit DirectoryLock(const std::filesystem::path& directory);

 private:
  FileDescriptor file_;
};

}  // namespace wick
