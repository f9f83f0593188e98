#include "core/storage.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "core/allocate.h"

namespace wick {
namespace {

TEST(Storage, IsHeldOnceThroughTheWholeOfAnAnnouncedRelease) {
  const std::shared_ptr<Storage> storage = allocate_host(64);
  std::shared_ptr<Storage> in_flight = storage;
  EXPECT_FALSE(Storage::held_once(storage));

  AnnouncedReleases announced;
  announced.announce(*in_flight);
  EXPECT_TRUE(Storage::held_once(storage));

  std::binary_semaphore begun{0};
  std::thread releasing([&] {
    announced.withdraw([&] {
      begun.release();
      // As if the thread lost its core here: the announcement has ended, the reference is still held.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      in_flight.reset();
    });
  });
  begun.acquire();
  EXPECT_TRUE(Storage::held_once(storage));
  releasing.join();
  EXPECT_TRUE(Storage::held_once(storage));
}

TEST(Storage, IsNotHeldOnceWhileSomebodyReadsThoughOthersLetGo) {
  struct InFlight {
    std::shared_ptr<Storage> held;
    AnnouncedReleases announced;
  };
  const std::shared_ptr<Storage> storage = allocate_host(64);
  const std::shared_ptr<Storage> reader = storage;
  std::vector<InFlight> in_flight(2000);
  for (InFlight& work : in_flight) {
    work.held = storage;
    work.announced.announce(*storage);
  }
  std::thread releasing([&] {
    for (InFlight& work : in_flight) work.announced.withdraw([&] { work.held.reset(); });
  });
  int taken_for_free = 0;
  for (int i = 0; i < 2000; ++i) taken_for_free += Storage::held_once(storage) ? 1 : 0;
  releasing.join();
  EXPECT_EQ(taken_for_free, 0);
  EXPECT_FALSE(Storage::held_once(storage));
}

}  // namespace
}  // namespace wick
