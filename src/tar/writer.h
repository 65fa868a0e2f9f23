// Canonical tar writer: the same entries give the same bytes, whatever the host. POSIX
// ustar headers; a PAX 'x' header only for what ustar cannot say (pax(1), "ustar
// Interchange Format"). No user names, no atime/ctime, no padding to a record.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/stream.h"
#include "tar/entry.h"

namespace kasane::tar {

// Where a member lies in the stream, in bytes from its start.
struct Placement {
  uint64_t header_offset = 0;  // first block of the member, its 'x' header included
  uint64_t data_offset = 0;    // first content byte; content is entry.size bytes
};

// Usage: for each entry in compare_paths() order: begin(), write() until entry.size bytes
// are there, finish_member(); at the end finish(). One thread at a time. The sink must
// outlive the writer; content is passed to it without copying. After an error the output
// is useless and every later call fails with kInternal.
class Writer {
 public:
  explicit Writer(ByteSink& out) : out_(out) {}

  // kInternal when the caller breaks the contract of Entry (form of the path, sorted
  // xattrs, overlay control xattrs) or the order (so duplicates cannot be written).
  // kInvalid for what tar cannot express (device numbers above 2097151), kLimit for xattrs
  // that our own reader would refuse. Entry path "" becomes "./".
  Result<Placement> begin(const Entry& entry);
  // kInternal when more than entry.size bytes come.
  Result<void> write(std::span<const uint8_t> bytes);
  // Pads the member. kInternal when fewer than entry.size bytes came.
  Result<void> finish_member();
  // Two zero blocks. Nothing may follow.
  Result<void> finish();

  // Bytes written so far.
  uint64_t offset() const { return offset_; }

 private:
  enum class State { kBetween, kInMember, kFinished, kFailed };
  Result<void> emit(std::span<const uint8_t> bytes);
  Result<void> check(const Entry& entry) const;
  Result<void> check_limits(const Entry& entry) const;
  Error broken(std::string what);

  ByteSink& out_;
  uint64_t offset_ = 0;
  uint64_t remaining_ = 0;  // content bytes still to come
  uint64_t padding_ = 0;
  State state_ = State::kBetween;
  bool any_ = false;
  std::string previous_;  // path of the last member
  std::string headers_;   // reused: 'x' header, its records, ustar header
  std::string records_;   // reused: PAX records
  std::string name_;      // reused: path as tar writes it
};

}  // namespace kasane::tar
