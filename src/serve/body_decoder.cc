#include "serve/body_decoder.h"

#include <algorithm>

#include "base/text.h"

namespace kasane::serve {
namespace {

constexpr unsigned kMaxDigits = 15;        // of a chunk size: fits in 60 bits
constexpr size_t kMaxOverhead = 64u << 10;  // extensions and trailers of one body

bool is_control(char c) {
  auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

}  // namespace

BodyDecoder BodyDecoder::of_length(uint64_t length) {
  BodyDecoder out;
  out.left_ = length;
  out.state_ = length > 0 ? State::kData : State::kDone;
  return out;
}

BodyDecoder BodyDecoder::chunked() {
  BodyDecoder out;
  out.chunked_ = true;
  out.state_ = State::kSize;
  return out;
}

std::string_view BodyDecoder::after_size_line() {
  state_ = left_ > 0 ? State::kData : State::kTrailer;
  return {};
}

// One byte outside the data. Returns why it is refused, or "".
std::string_view BodyDecoder::step(char c) {
  switch (state_) {
    case State::kSize:
      if (int value = hex_value(c); value >= 0) {
        if (++digits_ > kMaxDigits) return "a chunk size is too large";
        left_ = left_ << 4 | static_cast<unsigned>(value);
        return {};
      }
      if (digits_ == 0) return "a chunk size is missing";
      if (c == ';') state_ = State::kExtension;
      else if (c == '\r') state_ = State::kSizeLf;
      else return "malformed chunk size";
      return {};
    case State::kExtension:
      if (c == '\r') state_ = State::kSizeLf;
      else if (is_control(c) || ++overhead_ > kMaxOverhead) return "malformed chunk extension";
      return {};
    case State::kSizeLf: return c == '\n' ? after_size_line() : "a bare CR behind a chunk size";
    case State::kDataCr:
      state_ = State::kDataLf;
      return c == '\r' ? "" : "a chunk is longer than its size";
    case State::kDataLf:
      state_ = State::kSize;
      left_ = 0;
      digits_ = 0;
      return c == '\n' ? "" : "a bare CR behind a chunk";
    case State::kTrailer:
      state_ = c == '\r' ? State::kLastLf : State::kTrailerText;
      return c == '\r' || (!is_control(c) && c != ' ' && c != '\t') ? "" : "malformed trailer";
    case State::kTrailerText:
      if (c == '\r') state_ = State::kTrailerLf;
      else if (is_control(c) || ++overhead_ > kMaxOverhead) return "malformed trailer";
      return {};
    case State::kTrailerLf:
      state_ = State::kTrailer;
      return c == '\n' ? "" : "a bare CR in a trailer";
    case State::kLastLf:
      state_ = State::kDone;
      return c == '\n' ? "" : "a bare CR behind the trailers";
    case State::kData:
    case State::kDone: break;
  }
  return "internal error";
}

BodyDecoder::Piece BodyDecoder::decode(std::string_view input, std::span<uint8_t> output) {
  Piece piece;
  while (!done() && piece.consumed < input.size()) {
    if (state_ != State::kData) {
      piece.error = step(input[piece.consumed++]);
      if (!piece.error.empty()) return piece;
      continue;
    }
    uint64_t n = std::min({left_, static_cast<uint64_t>(input.size() - piece.consumed),
                           static_cast<uint64_t>(output.size() - piece.produced)});
    if (n == 0) return piece;
    std::copy_n(input.data() + piece.consumed, n, output.data() + piece.produced);
    piece.consumed += n;
    piece.produced += n;
    left_ -= n;
    if (left_ == 0) state_ = chunked_ ? State::kDataCr : State::kDone;
  }
  return piece;
}

}  // namespace kasane::serve
