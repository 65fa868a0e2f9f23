// The body of a request: Content-Length bytes, or chunks (RFC 9112 7.1) read to the letter. Our
// own, because Beast's reading of chunks depends on where the network cuts them (found by fuzzing:
// a stray CR before a chunk size passes in one piece and not in two).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kasane::serve {

// One body. Thread-compatible.
class BodyDecoder {
 public:
  static BodyDecoder of_length(uint64_t length);
  static BodyDecoder chunked();

  struct Piece {
    size_t consumed = 0;      // of the input
    size_t produced = 0;      // written to the output
    std::string_view error;   // not empty: malformed, close the connection
  };
  // Goes on until the input is used up, the output is full, or the body ends. Everything given
  // is consumed unless the output is full or the body has ended.
  Piece decode(std::string_view input, std::span<uint8_t> output);
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State {
    kData,        // `left_` bytes, then the end of the body (plain) or kDataEnd
    kSize,        // hex digits
    kExtension,   // ";...", ignored
    kSizeLf,      // LF of the size line
    kDataCr,      // CR LF behind the data
    kDataLf,
    kTrailer,     // start of a trailer line, or of the empty last one
    kTrailerText,
    kTrailerLf,
    kLastLf,
    kDone,
  };
  std::string_view step(char c);
  std::string_view after_size_line();

  State state_ = State::kDone;
  bool chunked_ = false;
  uint64_t left_ = 0;    // of the data, or the size that is being read
  unsigned digits_ = 0;  // of the size
  size_t overhead_ = 0;  // bytes of extensions and trailers so far
};

}  // namespace kasane::serve
