#include "io/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "io/file_descriptor.h"
#include "io/system_error.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

/// What the signal handler needs to know of a mapping. A slot is claimed by `used`, published by `begin`.
struct Slot {
  std::atomic<bool> used{false};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::array<char, 256> path{};
};

// A fixed table: a signal handler can neither lock nor allocate. Mappings beyond it work, without the
// message.
std::array<Slot, 256> slots;

int claim_slot(std::span<const std::byte> bytes, const std::string& path) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    if (slot.used.exchange(true)) continue;
    const std::size_t length = std::min(path.size(), slot.path.size() - 1);
    std::memcpy(slot.path.data(), path.data(), length);
    slot.path[length] = '\0';
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    slot.end = begin + bytes.size();
    slot.begin = begin;
    return static_cast<int>(i);
  }
  return -1;
}

void release_slot(int index) {
  Slot& slot = slots[static_cast<std::size_t>(index)];
  slot.begin = 0;
  slot.end = 0;
  slot.used = false;
}

void print(std::string_view text) {
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

extern "C" void on_bus_error(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Slot& slot : slots) {
    const std::uintptr_t begin = slot.begin;
    if (begin == 0 || address < begin || address >= slot.end) continue;
    print("wick: error: '");
    print({slot.path.data(), std::strlen(slot.path.data())});
    print(
        "' was shortened by another program while it was in use, or cannot be read; restore it and run "
        "again\n");
    ::_exit(1);
  }
  std::signal(signal, SIG_DFL);  // returning repeats the access, now with the default action
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const FileDescriptor file = FileDescriptor::open_regular(path);
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  const auto size = static_cast<std::size_t>(file.status(path).st_size);
  if (size == 0) return mapped;  // mmap refuses empty files
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) throw_file_error("map", path, errno);
  mapped->bytes_ = {static_cast<const std::byte*>(data), size};
  mapped->slot_ = claim_slot(mapped->bytes_, path.string());
  return mapped;
}

MappedFile::~MappedFile() {
  if (slot_ >= 0) release_slot(slot_);
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void exit_when_a_mapped_file_shrinks() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace wick
