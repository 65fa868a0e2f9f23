// Recognises, in what a step printed, that it wanted a user id which single-uid mode does
// not have. Pure; one thread.
#pragma once

#include <string>
#include <string_view>

namespace kasane::exec {

class IdTrouble {
 public:
  // Output in any pieces; lines are joined, very long ones cut.
  void see(std::string_view bytes);
  // The first line that shows it, "" when none did.
  const std::string& line() const { return found_; }
  void finish();  // the last line may have no end

 private:
  void judge();
  std::string current_, found_;
};

}  // namespace kasane::exec
