// Basic authentication against an htpasswd file with bcrypt entries ("$2y$", as
// `htpasswd -B` writes them). Other hash types are refused when the file is read: they are
// unsafe, and a user that silently cannot log in helps nobody.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kasane::serve {

class Authenticator {
 public:
  // `text`: content of the file, `name`: for errors.
  static Result<std::unique_ptr<Authenticator>> parse(std::string_view text,
                                                      const std::string& name);
  ~Authenticator();

  // Whether an Authorization header proves a known user. bcrypt is slow on purpose, so a pair
  // that was right is remembered (as a keyed hash). Thread-safe.
  bool accepts(std::string_view authorization);

 private:
  Authenticator();
  bool verify(const std::string& user, const std::string& password);
  std::map<std::string, std::string> hashes_;  // user → "$2y$..."
  std::string unknown_user_hash_;              // so that unknown users take as long
  struct Cache;
  std::unique_ptr<Cache> cache_;
};

}  // namespace kasane::serve
