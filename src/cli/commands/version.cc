// kasane version: docker's "Client" block; there is no server to ask.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "oci/platform.h"

namespace kasane::cli {
namespace {

constexpr tmpl::GoType kClientType{"system.clientVersion", tmpl::Kind::kStruct};
constexpr tmpl::GoType kVersionType{"system.versionInfo", tmpl::Kind::kStruct};

tmpl::Value version_value() {
  using tmpl::Value;
  const oci::Platform host = oci::Platform::host();
  tmpl::Struct client = {
      {"Version", "Version", Value::string(KASANE_VERSION)},
      {"DefaultAPIVersion", "DefaultAPIVersion", Value::string("1.50")},
      {"Compiler", "Compiler", Value::string("g++ " __VERSION__)},
      {"Os", "Os", Value::string(host.os)},
      {"Arch", "Arch", Value::string(host.architecture)},
  };
  // docker prints `Server` as null when no daemon answers.
  return Value::object({{"Client", "Client", Value::object(std::move(client), kClientType)},
                        {"Server", "Server", Value::nil(tmpl::types::kAny)}},
                       kVersionType);
}

Result<int> run_version(Context& context, const Arguments& arguments) {
  const tmpl::Value value = version_value();
  const std::string format = arguments.value("format");
  if (!format.empty()) {
    context.out(TRY(format_object(format, value)) + "\n");
    return 0;
  }
  auto text = [&](std::string_view name) {
    return value.find_field("Client")->find_field(name)->text();
  };
  context.out(fmt::format(
      "Client: kasane\n"
      " Version:           {}\n"
      " Docker API shape:  {}\n"
      " Compiler:          {}\n"
      " OS/Arch:           {}/{}\n"
      " Server:            none needed\n",
      text("Version"), text("DefaultAPIVersion"), text("Compiler"), text("Os"), text("Arch")));
  return 0;
}

constexpr FlagSpec kFlags[] = {kObjectFormatFlag};

}  // namespace

extern const Command kCommand_version;
const Command kCommand_version = {
    .path = "version",
    .aliases = {},
    .summary = "Show the version of kasane",
    .usage = "[OPTIONS]",
    .help =
        "Examples:\n"
        "  kasane version\n"
        "  kasane version --format '{{.Client.Version}}'\n"
        "  kasane version --format json",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_version,
};

}  // namespace kasane::cli
