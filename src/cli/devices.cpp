#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "wick/device.h"

namespace wick::cli {

void add_devices(CLI::App& app) {
  CLI::App* command = app.add_subcommand("devices", "List the devices that this build can use here");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print a JSON array");
  command->footer("Example:\n  wick devices");
  command->callback([json] {
    if (*json) {
      auto list = nlohmann::json::array();
      for (const DeviceInfo& d : devices())
        list.push_back({{"device", d.device.str()},
                        {"name", d.name},
                        {"features", d.features},
                        {"memory_bytes", d.memory_bytes},
                        {"threads", d.threads},
                        {"driver", d.driver}});
      print_line(list.dump());
      return;
    }
    for (const DeviceInfo& d : devices()) {
      const std::string runs = d.device == cpu ? fmt::format("{} threads", d.threads) : "driver " + d.driver;
      print_line(fmt::format("{:<8} {}  {:.1f} GiB, {}, {}", d.device.str(), d.name,
                             static_cast<double>(d.memory_bytes) / (1 << 30), runs, d.features));
    }
    if (const std::string why = missing_gpu(); !why.empty()) print_error_line(why);
  });
}

}  // namespace wick::cli
