#include "transfer/upload_notes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/fd.h"
#include "base/random.h"
#include "base/text.h"

namespace kasane::transfer {

std::string UploadNotes::path(const std::string& key) const {
  return folder_ + "/" + sha256(repository_ + "|" + key).hex();
}

// The URL, and behind it perhaps a line "sha256:<hex> <size>".
UploadNote UploadNotes::read(const std::string& key) const {
  UploadNote out;
  const Result<std::string> text = read_file(path(key), 64u << 10);
  if (!text) return out;
  const size_t line = text->find('\n');
  out.session = text->substr(0, line);
  if (line == std::string::npos) return out;
  const std::string rest = text->substr(line + 1);
  const size_t space = rest.find(' ');
  const auto digest = Sha256Digest::parse(rest.substr(0, space));
  const auto size = space == std::string::npos ? std::nullopt : parse_uint(rest.substr(space + 1));
  if (digest && size) out.end = registry::BlobEnd{*digest, *size};
  return out;
}

void UploadNotes::write(const std::string& key, const UploadNote& note) const {
  const std::string file = path(key);
  if (note.session.empty() && !note.end) {
    ::unlink(file.c_str());
    return;
  }
  std::string text = note.session;
  if (note.end) text += "\n" + note.end->digest.str() + " " + std::to_string(note.end->size);
  if (!make_directories(folder_, 0700)) return;
  // Not synced: after a power cut the blob is sent anew, which costs less than two syncs each time.
  const std::string temporary = file + ".tmp." + random_hex(8);
  const auto written = [&]() -> Result<void> {
    const UniqueFd fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    return write_all(fd.get(), text, temporary);
  }();
  if (!written || ::rename(temporary.c_str(), file.c_str()) != 0) ::unlink(temporary.c_str());
}

}  // namespace kasane::transfer
