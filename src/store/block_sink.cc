#include "store/block_sink.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>

namespace kasane::store {

BlockSink::BlockSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

BlockSink::~BlockSink() { stop(); }

void BlockSink::stop() {
  if (!worker_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

Result<std::span<uint8_t>> BlockSink::reserve() {
  if (used_ == kBlockSize) TRY(submit());
  std::unique_ptr<uint8_t[]>& block = blocks_[filling_ % kBlocks];
  if (!block) block.reset(new uint8_t[kBlockSize]);
  return std::span(block.get() + used_, kBlockSize - used_);
}

Result<void> BlockSink::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    std::span<uint8_t> room = TRY(reserve());
    const size_t n = std::min(room.size(), bytes.size());
    if (bytes.data() != room.data()) std::memcpy(room.data(), bytes.data(), n);
    used_ += n;
    bytes = bytes.subspan(n);
  }
  return {};
}

Result<void> BlockSink::submit() {
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
  std::unique_lock lock(mutex_);
  ++submitted_;
  changed_.notify_all();
  // The next slot is free once all but kBlocks - 1 of the submitted blocks are consumed.
  changed_.wait(lock, [this] { return error_ || submitted_ - consumed_ < kBlocks; });
  if (error_) return *error_;
  ++filling_;
  used_ = 0;
  return {};
}

Result<void> BlockSink::consume(std::span<const uint8_t> bytes) {
  // Start the disk early, so that the fsync at the end finds little left to do.
  constexpr uint64_t kWritebackStep = 8u << 20;
  hash_.update(bytes);
  if (fd_ >= 0) {
    TRY(write_all(fd_, bytes, name_));
    if (size_ + bytes.size() - flushing_from_ >= kWritebackStep) {
      ::sync_file_range(fd_, static_cast<off_t>(flushing_from_),
                        static_cast<off_t>(size_ + bytes.size() - flushing_from_),
                        SYNC_FILE_RANGE_WRITE);
      flushing_from_ = size_ + bytes.size();
    }
  }
  size_ += bytes.size();
  return {};
}

void BlockSink::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || submitted_ > consumed_; });
    if (submitted_ == consumed_) return;
    const uint8_t* block = blocks_[consumed_ % kBlocks].get();
    const bool broken = error_.has_value();
    lock.unlock();
    Result<void> done;
    if (!broken) done = consume({block, kBlockSize});
    lock.lock();
    if (!done) error_ = done.error();
    ++consumed_;
    changed_.notify_all();
  }
}

Result<BlockSink::Totals> BlockSink::finish() {
  stop();  // the worker ends when everything submitted is consumed
  if (error_) return *error_;
  if (used_ > 0) TRY(consume({blocks_[filling_ % kBlocks].get(), used_}));
  used_ = 0;
  return Totals{hash_.finish(), size_};
}

}  // namespace kasane::store
