// Structured input for the writer: entries made from the bytes. Oracle: read(write(x)) = x.
#include <string>
#include <vector>

#include "base/stream.h"
#include "input.h"
#include "tar/reader.h"
#include "tar/writer.h"

using namespace kasane;
using kasane::fuzz::require;

namespace {

std::string path_of(fuzz::Input& input) {
  std::string path(input.text(input.number(1)));
  const size_t repeat = input.number(1) % 8;
  const std::string once = path;
  for (size_t i = 0; i < repeat; ++i) path += "/" + once;
  return path;
}

tar::Entry entry_of(fuzz::Input& input) {
  tar::Entry entry;
  entry.type = static_cast<tar::EntryType>(input.number(1) % 7);
  entry.path = path_of(input);
  entry.mode = static_cast<uint32_t>(input.number(2)) & 07777;
  entry.uid = static_cast<uint32_t>(input.number(input.number(1) % 5));
  entry.gid = static_cast<uint32_t>(input.number(input.number(1) % 5));
  entry.mtime.sec = static_cast<int64_t>(input.number(input.number(1) % 9));
  entry.mtime.nsec = static_cast<uint32_t>(input.number(input.number(1) % 5)) % 1000000000;
  if (entry.type == tar::EntryType::kSymlink || entry.type == tar::EntryType::kHardlink)
    entry.link_target = path_of(input);
  if (entry.type == tar::EntryType::kCharDevice || entry.type == tar::EntryType::kBlockDevice) {
    entry.dev_major = static_cast<uint32_t>(input.number(input.number(1) % 5));
    entry.dev_minor = static_cast<uint32_t>(input.number(input.number(1) % 5));
  }
  for (size_t n = input.number(1) % 4; n > 0; --n) {
    std::string name(input.text(input.number(1)));
    if (!entry.xattrs.empty() && name <= entry.xattrs.back().name) continue;
    entry.xattrs.push_back({name, std::string(input.text(input.number(1)))});
  }
  return entry;
}

bool same(const tar::Entry& a, const tar::Entry& b) {
  return a.type == b.type && a.path == b.path && a.link_target == b.link_target &&
         a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.size == b.size &&
         a.mtime.sec == b.mtime.sec && a.mtime.nsec == b.mtime.nsec && a.dev_major == b.dev_major &&
         a.dev_minor == b.dev_minor && a.xattrs == b.xattrs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  StringSink sink;
  tar::Writer writer(sink);
  std::vector<tar::Entry> entries;
  std::vector<std::string> contents;
  std::string last;
  while (!input.empty()) {
    tar::Entry entry = entry_of(input);
    std::string content;
    if (entry.type == tar::EntryType::kFile) content = input.text(input.number(2) % 1100);
    entry.size = content.size();
    if (!entries.empty() && tar::compare_paths(last, entry.path) >= 0) continue;
    Result<tar::Placement> placement = writer.begin(entry);
    if (!placement) return 0;
    require(placement->data_offset == sink.text.size(), "placement");
    require(writer.write({reinterpret_cast<const uint8_t*>(content.data()), content.size()})
                    .has_value() &&
                writer.finish_member().has_value(),
            "accepted entries can be written");
    last = entry.path;
    entries.push_back(std::move(entry));
    contents.push_back(std::move(content));
  }
  require(writer.finish().has_value() && writer.offset() == sink.text.size(), "finish");

  MemorySource source(sink.text);
  tar::Reader reader(source);
  for (size_t i = 0; i < entries.size(); ++i) {
    Result<std::optional<tar::Member>> member = reader.next();
    require(member.has_value() && member->has_value(), "what we wrote is readable");
    require(same((*member)->entry, entries[i]), "read(write(x)) = x");
    std::string content(contents[i].size() + 1, '\0');
    Result<size_t> n = reader.read({reinterpret_cast<uint8_t*>(content.data()), content.size()});
    require(n.has_value() && content.substr(0, *n) == contents[i], "content survives");
  }
  Result<std::optional<tar::Member>> end = reader.next();
  require(end.has_value() && !end->has_value(), "nothing more");
  return 0;
}
