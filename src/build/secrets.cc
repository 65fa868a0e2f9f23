#include "build/secrets.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "base/stream.h"

namespace kasane::build {
namespace {

constexpr size_t kShortestNeedle = 6;
constexpr size_t kChunk = 256 * 1024;

Error leak(const std::string& id, const std::string& where) {
  return Error(ErrorKind::kPermission, "the value of secret \"" + id + "\" is in " + where)
      .hint("the image was not made; change the step that writes it so that the value stays in "
            "the mount");
}

// The first needle in the stream, or null. Keeps what a chunk boundary may cut.
Result<const std::string*> find_in(ByteSource& source,
                                   const std::vector<std::pair<std::string, std::string>>& needles) {
  size_t longest = 0;
  for (const auto& [id, value] : needles) longest = std::max(longest, value.size());
  std::string window;
  std::string chunk(kChunk, '\0');
  for (;;) {
    size_t n = TRY(source.read(std::span(reinterpret_cast<uint8_t*>(chunk.data()), chunk.size())));
    if (n == 0) return static_cast<const std::string*>(nullptr);
    window.append(chunk, 0, n);
    for (const auto& [id, value] : needles)
      if (window.find(value) != std::string::npos) return &id;
    if (window.size() >= longest) window.erase(0, window.size() - (longest - 1));
  }
}

Result<void> search_layer(const store::LayerPtr& layer,
                          const std::vector<std::pair<std::string, std::string>>& needles) {
  const store::LayerIndex& index = layer->index();
  const std::string name = "layer " + layer->diff_id().str() + ", ";
  for (size_t i = 0; i < index.size(); ++i) {
    store::EntryView entry = index.at(i);
    for (const auto& [id, value] : needles) {
      if (entry.link_target.find(value) != std::string_view::npos ||
          index.path_at(i).find(value) != std::string_view::npos)
        return leak(id, name + "path /" + std::string(index.path_at(i)));
      for (const tar::Xattr& xattr : entry.xattrs)
        if (xattr.value.find(value) != std::string::npos)
          return leak(id, name + "an attribute of /" + std::string(index.path_at(i)));
    }
    if (entry.type != tar::EntryType::kFile || entry.size < kShortestNeedle) continue;
    std::unique_ptr<ByteSource> content = TRY(layer->open_content(i));
    if (const std::string* id = TRY(find_in(*content, needles)))
      return leak(*id, name + "file /" + std::string(index.path_at(i)));
  }
  return {};
}

}  // namespace

const std::string* SecretValues::find(const std::string& id) const {
  auto it = values_.find(id);
  return it == values_.end() ? nullptr : &it->second;
}

std::vector<std::pair<std::string, std::string>> SecretValues::needles() const {
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& [id, value] : values_) {
    std::string needle = value;
    while (!needle.empty() && (needle.back() == '\n' || needle.back() == '\r')) needle.pop_back();
    if (needle.size() >= kShortestNeedle) found.emplace_back(id, std::move(needle));
  }
  return found;
}

Redactor::Redactor(const SecretValues& secrets, Out out) : out_(std::move(out)) {
  for (auto& [id, value] : secrets.needles()) values_.push_back(std::move(value));
  // Longest first: a value that contains another must not leave its rest behind.
  std::sort(values_.begin(), values_.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

void Redactor::write(std::string_view bytes, int stream) {
  if (values_.empty()) return out_(bytes, stream);
  held_[stream].append(bytes);
  emit(stream, false);
}

void Redactor::flush() {
  for (auto& [stream, text] : held_) emit(stream, true);
}

void Redactor::emit(int stream, bool all) {
  std::string& text = held_[stream];
  for (const std::string& value : values_)
    for (size_t at = text.find(value); at != std::string::npos; at = text.find(value, at))
      text.replace(at, value.size(), "****");
  // The longest end of the text that some value starts with stays for the next write.
  size_t keep = 0;
  for (const std::string& value : values_)
    for (size_t n = std::min(value.size() - 1, text.size()); !all && n > keep; --n)
      if (text.compare(text.size() - n, n, value, 0, n) == 0) keep = n;
  if (text.size() > keep) out_(std::string_view(text).substr(0, text.size() - keep), stream);
  text.erase(0, text.size() - keep);
}

bool may_hold_secrets(const SecretValues& secrets, const std::string& directory) {
  std::vector<std::pair<std::string, std::string>> needles = secrets.needles();
  if (needles.empty()) return false;
  auto holds = [&](const std::string& text) {
    return std::any_of(needles.begin(), needles.end(),
                       [&](const auto& needle) { return text.find(needle.second) != std::string::npos; });
  };
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(directory, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string path = entry->path().string();
    std::filesystem::file_type type = entry->symlink_status(error).type();
    if (error || holds(path.substr(directory.size()))) return true;
    if (type == std::filesystem::file_type::symlink &&
        (holds(std::filesystem::read_symlink(path, error).string()) || error))
      return true;
    if (type != std::filesystem::file_type::regular) continue;
    Result<UniqueFd> file = open_file(path, O_RDONLY | O_NOFOLLOW);
    if (!file) return true;
    FdSource source(file->get(), path);
    Result<const std::string*> found = find_in(source, needles);
    if (!found || *found) return true;
  }
  return static_cast<bool>(error);
}

Result<void> refuse_leaks(const SecretValues& secrets, const std::vector<store::LayerPtr>& layers) {
  std::vector<std::pair<std::string, std::string>> needles = secrets.needles();
  if (needles.empty()) return {};
  for (const store::LayerPtr& layer : layers) TRY(search_layer(layer, needles));
  return {};
}

Result<void> refuse_leaks(const SecretValues& secrets, std::string_view text, std::string_view what) {
  for (const auto& [id, value] : secrets.needles())
    if (text.find(value) != std::string_view::npos) return leak(id, std::string(what));
  return {};
}

}  // namespace kasane::build
