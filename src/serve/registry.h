// The endpoints of the distribution-spec 1.1 (table 2.1 of the registry reference) over a
// Storage. One object answers all requests.
#pragma once

#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include "serve/htpasswd.h"
#include "serve/http.h"
#include "serve/request_target.h"
#include "serve/storage.h"

namespace kasane::serve {

// "v*" is matched against the tag, "team/*:v*" against repository and tag (fnmatch; '*' does not
// cross a '/').
class TagPatterns {
 public:
  static Result<TagPatterns> parse(const std::vector<std::string>& patterns);
  bool matches(const std::string& name, const std::string& tag) const;

 private:
  std::vector<std::string> patterns_;
};

struct RegistryOptions {
  bool read_only = false;
  TagPatterns immutable;
  std::unique_ptr<Authenticator> authenticator;      // null: everybody may do everything
  std::function<void(const std::string&)> on_error;  // failures of this side, one line each
};

// Thread-safe.
class Registry {
 public:
  Registry(std::unique_ptr<Storage> storage, RegistryOptions options)
      : storage_(std::move(storage)), options_(std::move(options)) {}

  Response handle(Request& request);

 private:
  struct Call {
    Request& request;
    const Route& route;
    bool is(std::string_view method) const { return request.method == method; }
  };
  // An Error is a failure of this side: 500 (or 507), and a line for on_error.
  using Answer = Result<Response>;

  Answer route(const Call& call);
  Answer dispatch(const Call& call);
  Answer repository_call(const Call& call);

  Answer catalog(const Call& call);
  Answer tags(const Call& call);
  Answer referrers(const Call& call);

  Answer blob(const Call& call);
  Answer get_blob(const Call& call, const ContentDigest& digest);

  Answer start_upload(const Call& call);
  Answer upload(const Call& call);
  Answer upload_chunk(const Call& call, Upload& upload);
  Answer finish_upload(const Call& call, Upload& upload, const std::string& digest);
  Answer upload_status(const Call& call, const Upload& upload, int status);
  std::optional<Response> receive(const Call& call, Upload& upload, Answer& failure);

  Answer manifest(const Call& call);
  Answer get_manifest(const Call& call);
  Answer put_manifest(const Call& call);
  Answer delete_manifest(const Call& call);
  Storage::TagRule rule_for(const std::string& name) const;

  std::unique_ptr<Storage> storage_;
  RegistryOptions options_;
  // A manifest of 4 MiB can need ten times that while it is read as JSON: four at a time.
  std::counting_semaphore<4> parsers_{4};
};

}  // namespace kasane::serve
