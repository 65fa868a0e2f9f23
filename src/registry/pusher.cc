#include "registry/pusher.h"

#include "registry/repository.h"

namespace kasane::registry {
namespace {

bool good(const ApiAnswer& answer) { return answer.status >= 200 && answer.status < 300; }

}  // namespace

Result<std::unique_ptr<Pusher>> Pusher::open(const Surroundings& around, const oci::Reference& reference,
                                             bool insecure) {
  Route route = TRY(find_route(around, reference));
  if (!route.blocked_by.empty())
    return Error(ErrorKind::kPermission, "registry " + reference.domain + " is blocked")
        .hint(route.blocked_by + " says so");
  if (route.push.empty())
    return Error(ErrorKind::kInvalid, "no endpoint of " + reference.domain + " takes pushes")
        .hint("`kasane registry explain` shows which file says so");
  if (insecure) route.push.front().plain_http = route.push.front().skip_verify = true;
  Client::Options options;
  options.around = around;
  options.attempts = route.limits.attempts;
  std::unique_ptr<Pusher> out(new Pusher(TRY(Client::open(route.push.front(), std::move(options)))));
  out->uploads_ = route.limits.uploads;
  return out;
}

Result<bool> Pusher::has_blob(const Sha256Digest& digest, const std::stop_token& stop) {
  return repository_has_blob(*client_, digest, stop);
}

Result<bool> Pusher::mount(const Sha256Digest& digest, const std::string& from, const std::stop_token& stop) {
  ApiRequest wanted =
      push_request(*client_, "POST", "blobs/uploads/?mount=sha256%3A" + digest.hex() + "&from=" + from);
  const std::string empty;
  wanted.body = &empty;
  wanted.scopes.insert("repository:" + from + ":pull");
  const ApiAnswer answer = TRY(client_->send(wanted, stop));
  if (answer.status == 201) return true;
  // 202 opened a session instead; it is given back, an upload opens its own.
  if (answer.status == 202 && !answer.location.empty())
    (void)client_->send(push_request(*client_, "DELETE", answer.location), stop).has_value();
  return false;
}

Result<void> Pusher::upload(const Sha256Digest& digest, uint64_t size, UploadSource& source,
                            const UploadHooks& hooks, const std::stop_token& stop) {
  return Upload(*client_, source, nullptr, BlobEnd{digest, size}, hooks, stop).run();
}

Result<void> Pusher::upload_growing(GrowingSource& source, const UploadHooks& hooks,
                                    const std::stop_token& stop) {
  return Upload(*client_, source, &source, std::nullopt, hooks, stop).run();
}

Result<bool> Pusher::has_manifest(const std::string& tag, const Sha256Digest& digest, const std::stop_token& stop) {
  ApiRequest head = push_request(*client_, "HEAD", "manifests/" + tag);
  head.headers = {kAcceptManifests};
  const ApiAnswer answer = TRY(client_->send(head, stop));
  if (answer.status == 401 || answer.status == 403) return push_refused(answer, *client_);
  return good(answer) && answer.header("docker-content-digest") == digest.str();
}

Result<bool> Pusher::has_tag(const std::string& tag, const std::stop_token& stop) {
  ApiRequest head = push_request(*client_, "HEAD", "manifests/" + tag);
  head.headers = {kAcceptManifests};
  const ApiAnswer answer = TRY(client_->send(head, stop));
  if (answer.status == 401 || answer.status == 403) return push_refused(answer, *client_);
  return good(answer);
}

Result<void> Pusher::put_manifest(const std::string& reference, const std::string& media_type,
                                  const std::string& bytes, const std::stop_token& stop,
                                  const std::vector<std::string>& conditions) {
  ApiRequest put = push_request(*client_, "PUT", "manifests/" + reference);
  put.headers = conditions;
  put.headers.push_back("Content-Type: " + media_type);
  put.body = &bytes;
  const ApiAnswer answer = TRY(client_->send(put, stop));
  if (answer.status == 412 && !conditions.empty())
    return Error(ErrorKind::kConflict, reference + " means something else meanwhile");
  if (!good(answer)) return push_refused(answer, *client_);
  // 201 by the specification, 202 from some. What answers 200 to everything has stored nothing.
  if (answer.status != 201 && answer.status != 202)
    return Error(ErrorKind::kNetwork, "the registry answered " + std::to_string(answer.status) +
                                          " to a manifest, which does not say that it was stored");
  const std::string told = answer.header("docker-content-digest");
  if (const auto digest = Sha256Digest::parse(told); digest && *digest != sha256(bytes))
    return Error(ErrorKind::kCorrupt, "the registry stored another manifest than was sent: " + told);
  return {};
}

}  // namespace kasane::registry
