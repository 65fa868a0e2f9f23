// Helpers of the tar tests: hostile archives are built block by block here, because no
// honest writer makes them. Test code only.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tar/header.h"
#include "tar/reader.h"

namespace kasane::tar::testing {

struct RawMember {
  std::string name = {};
  char type = '0';
  std::string data = {};
  std::string link = {};
  int64_t size = -1;  // -1: data.size()
  std::string prefix = {};
  bool gnu = false;  // GNU magic
  bool v7 = false;
};

inline RawHeader raw_header(const RawMember& member) {
  RawHeader header{};
  std::memcpy(header.name, member.name.data(), std::min<size_t>(100, member.name.size()));
  std::memcpy(header.linkname, member.link.data(), std::min<size_t>(100, member.link.size()));
  std::memcpy(header.prefix, member.prefix.data(), std::min<size_t>(155, member.prefix.size()));
  put_octal(header.mode, 0644);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size,
            static_cast<uint64_t>(member.size < 0 ? static_cast<int64_t>(member.data.size())
                                                  : member.size));
  put_octal(header.mtime, 0);
  header.typeflag = member.type;
  if (!member.v7) {
    std::memcpy(header.magic, member.gnu ? "ustar " : "ustar\0", 6);
    std::memcpy(header.version, member.gnu ? " \0" : "00", 2);
  }
  put_checksum(header);
  return header;
}

inline std::string block_text(const RawHeader& header) {
  return {reinterpret_cast<const char*>(&header), kBlockSize};
}

inline std::string padded(std::string data) {
  data.append(padding_of(data.size()), '\0');
  return data;
}

inline std::string raw(const RawMember& member) {
  return block_text(raw_header(member)) + padded(member.data);
}

inline std::string file(std::string name, std::string data = "") {
  return raw({.name = std::move(name), .data = std::move(data)});
}

// "LEN key=value\n" with the right length.
inline std::string record(std::string_view key, std::string_view value) {
  for (size_t length = key.size() + value.size() + 4;; ++length) {
    std::string text =
        std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
    if (text.size() == length) return text;
  }
}

inline std::string pax(std::string records, char type = 'x') {
  return raw({.name = "pax", .type = type, .data = std::move(records)});
}

inline std::string end_mark() { return std::string(1024, '\0'); }

struct ReadMember {
  Member member;
  std::string content;
};

// All members with their contents, or the first error.
inline Result<std::vector<ReadMember>> read_all(ByteSource& source, const ReaderLimits& limits = {},
                                                ByteSink* skeleton = nullptr, size_t piece = 4096) {
  Reader reader(source, limits, skeleton);
  std::vector<ReadMember> members;
  std::vector<uint8_t> buffer(piece);
  for (;;) {
    std::optional<Member> member = TRY(reader.next());
    if (!member) return members;
    members.push_back({std::move(*member), {}});
    for (;;) {
      const size_t n = TRY(reader.read(buffer));
      if (n == 0) break;
      members.back().content.append(reinterpret_cast<char*>(buffer.data()), n);
    }
  }
}

inline Result<std::vector<ReadMember>> read_all(std::string_view archive,
                                                const ReaderLimits& limits = {}) {
  MemorySource source(archive);
  return read_all(source, limits);
}

}  // namespace kasane::tar::testing
