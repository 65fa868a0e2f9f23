// Executor: runs one RUN step in a root file system made of layer trees.
// Purpose: the only place that starts processes of an image. Implementations:
// exec/sandbox (built in), exec/oci_runtime (crun, runc). Thread-safe: run() may be called
// from several workers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/events.h"
#include "base/result.h"
#include "oci/platform.h"

namespace kasane::exec {

enum class Network {
  kHost,
  kNone,
  // A network of the step's own, connected by a user's process (exec/sandbox/user_network.h):
  kPrivate,  // by whatever is installed
  kPasta,
  kSlirp4netns,
};
// "host", "none", "private", "pasta", "slirp4netns"; nullopt for another word.
std::string_view network_name(Network network);
std::optional<Network> network_named(std::string_view name);

// How the merged file system of a step is made, best first.
enum class Storage {
  kOverlay,      // the kernel's overlayfs
  kFuseOverlay,  // fuse-overlayfs, a process of the step's own namespaces
  kCopy,         // a copy of all layers (reflinks where possible) and its difference
};

// Something of the host or of the store that the step sees at `target`. Mounts are made
// in the order given; one below the target of an earlier one works, and one at the same
// target covers the earlier one (reference RM8). What of `target` the image lacks is made
// for the step and taken away afterwards (RM7).
struct Mount {
  enum class Type {
    kBind,     // `source`: a file or directory of the host
    kTmpfs,    // size_bytes, mode (default 01777), uid, gid
    kOverlay,  // a read-only or discardable view of layer trees: lower_trees, sub_path,
               // upper_dir/work_dir
    kFile,     // `content` as a file on a private memory file system: mode (default 0400),
               // uid, gid (secrets)
    kSocket,   // `source`: a unix socket of the host, seen at `target` (ssh agent)
  };
  Type type = Type::kBind;
  std::string source;  // kBind, kSocket: host path (already resolved and checked by the caller)
  std::string target;  // absolute path inside the image
  bool read_only = true;
  uint64_t size_bytes = 0;                    // kTmpfs; 0 = kernel default
  std::optional<uint32_t> mode = {};          // permission bits
  uint32_t uid = 0, gid = 0;                  // as the step sees them
  std::string content = {};                   // kFile
  std::vector<std::string> lower_trees = {};  // kOverlay, lowest first; may be empty (scratch)
  // kOverlay: path inside the merged view (symlinks confined to it) that is mounted, a
  // file or a directory; "" = the root of the view. Missing: an error that names it.
  std::string sub_path = {};
  // kOverlay: where writes go, on a file system that can hold an overlayfs upper
  // directory: the caller's, new and empty, or a persistent cache directory as upper_dir.
  // Empty when read_only.
  std::string upper_dir = {}, work_dir = {};
  bool no_exec = false;  // programs in it cannot be started
};

// A resource limit by docker's name: "nofile", "nproc", "core", "stack"... . UINT64_MAX
// means unlimited. Not above the builder's own hard limit: the error says so.
struct Ulimit {
  std::string name;
  uint64_t soft = 0, hard = 0;
};

// kInsecure (reference R08): every capability that the builder holds, no seccomp filter,
// nothing masked or read-only in /proc and /sys, the host's devices in /dev where the
// mode permits.
enum class Security { kSandbox, kInsecure };

// The filter of system calls of steps, --security-opt seccomp=. Not asked for kInsecure.
struct SeccompChoice {
  enum class Kind {
    kDefault,     // Docker's profile, and what the host's installed profile forbids besides
    kBuiltin,     // Docker's profile alone
    kFile,        // `document` alone
    kUnconfined,  // none
  };
  Kind kind = Kind::kDefault;
  std::string path;      // kFile, for messages
  std::string document;  // kFile: JSON that exec/seccomp/profile.h has accepted
};

// The caller's ends of a step's terminal. Where they are terminals themselves, `input` is
// raw while the step runs and restored afterwards, and the window size is forwarded.
struct Terminal {
  int input = -1;  // -1: the step reads nothing
  int output = -1;
};

// The protection against fork bombs that every step has where cgroups permit.
inline constexpr uint64_t kDefaultPidsLimit = 4096;

struct RunSpec {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH *inside the image*
  std::vector<std::string> env;   // "K=V", complete; HOME is added from passwd if unset
  std::string cwd = "/";          // created if missing
  std::string user;               // as USER writes it; "" = root. Resolved in the image's files
  // Layer trees in overlayfs form, lowest first; may be empty (scratch).
  std::vector<std::string> lower_trees;
  // Empty directory on the store's file system. After success it holds exactly what the
  // step changed, in overlayfs form (whiteouts, opaque xattrs); no mount stubs, no
  // resolv.conf. The caller owns it. `work_dir` is a sibling that overlayfs uses;
  // it must be new and empty for each run, and may hold a directory of mode 0 afterwards.
  std::string upper_dir;
  std::string work_dir;
  std::vector<Mount> mounts;
  bool read_only_root = false;  // all but `mounts`, /dev and /dev/shm, once cwd was made
  Network network = Network::kHost;
  std::string hostname = "buildkitsandbox";
  std::vector<std::string> extra_hosts;  // lines for /etc/hosts
  Security security = Security::kSandbox;
  std::vector<Ulimit> ulimits;
  uint64_t shm_size_bytes = 0;  // of /dev/shm; 0 = 64 MiB
  // Of the whole step, by a cgroup of its own (v2 delegated, or the controllers of v1);
  // 0 = none. Where that is not possible the step runs without it, and
  // RunOutcome::limit_note says why: of the pids limit only when it was asked for.
  uint64_t memory_limit_bytes = 0;
  uint64_t pids_limit = kDefaultPidsLimit;
  bool pids_limit_asked = false;
  // The step is ended when it takes longer: RunOutcome::timed_out. 0 = no limit.
  uint64_t time_limit_ns = 0;
  // Ends the step at once, without the grace that Executor::run's `stop` gives.
  std::stop_token kill;
  // Relayed to the step's standard input through a pipe; absent: /dev/null.
  std::optional<int> stdin_fd;
  // Each byte read from it is the number of a signal for the program (not for its children).
  std::optional<int> signal_fd;
  // Interactive: the step gets a new pseudo-terminal as its three standard streams and
  // its controlling terminal; stdin_fd is not used and the log gets nothing then.
  std::optional<Terminal> terminal;
};

struct RunOutcome {
  int exit_status = 0;        // 128 + N when ended by signal N
  std::optional<int> signal;  // set when a signal ended the step
  uint64_t wall_ns = 0;
  // Of all processes of the step together; the peak is that of the largest single one.
  uint64_t user_ns = 0, system_ns = 0;
  uint64_t max_rss_bytes = 0;
  bool out_of_memory = false;  // RunSpec::memory_limit_bytes was the end of it
  bool out_of_pids = false;    // a process could not be made because of RunSpec::pids_limit
  bool timed_out = false;      // ended by RunSpec::time_limit_ns
  std::string limit_note;      // why a limit could not be applied; "" otherwise
  // A failed step: why the sandbox mode may be the reason and what to install, when its
  // output shows that (single-uid mode: ids that do not exist); "" otherwise.
  std::string advice;
  // Set when the program could not be started: exit_status is then 127 (not found) or
  // 126 (found, not executable), as a shell reports it. The text was also sent to the log.
  std::string exec_error;
};

// What a step that is asked to end (cancelled, timed out) gets before it is killed.
inline constexpr std::chrono::seconds kStopGrace{5};

using LogCallback = std::function<void(std::string_view bytes, int stream)>;

class Executor {
 public:
  virtual ~Executor() = default;
  // kStepFailed is *not* an error here: a non-zero exit status is an outcome. Errors
  // mean that the step could not be run (kUnsupported with a hint naming the missing
  // kernel setting or program). When `stop` is requested, every process of the step gets
  // SIGTERM, and SIGKILL kStopGrace later or when RunSpec::kill is requested; kCancelled is
  // returned. Nothing of the step lives when this returns.
  virtual Result<RunOutcome> run(const RunSpec& spec, const LogCallback& log,
                                 std::stop_token stop) = 0;
  // What runs the steps, for people, where a choice was made: "OCI runtime /usr/bin/crun".
  virtual std::string description() const { return ""; }
};

// What this host lets us do.
enum class SandboxMode {
  kRoot,           // overlayfs as root
  kRootlessRange,  // user namespace with a subuid range, overlayfs userxattr
  kSingleUid,      // one-entry user namespace
  kNone,           // RUN is impossible; reason says why
};
struct SandboxSupport {
  SandboxMode mode = SandboxMode::kNone;
  Storage storage_kind = Storage::kOverlay;
  std::string storage;  // "overlayfs", "overlayfs (userxattr)", "fuse-overlayfs", "copy"
  std::string reason;                // for kNone or for why a better mode is not available
  std::vector<std::string> missing;  // exact setting, package or file, one each
};
// Tries it out in a child, anew with each call, and keeps the answer in the store for
// make_sandbox_executor().
SandboxSupport probe_sandbox(const std::string& store_directory);

// The built-in executor. Fails with kUnsupported and the list of what is missing when
// RUN is not possible. Probes only when no kept answer still holds. $KASANE_STORAGE
// (overlay, fuse-overlayfs, copy) forces a storage mode.
Result<std::unique_ptr<Executor>> make_sandbox_executor(const std::string& store_directory,
                                                        const SeccompChoice& seccomp);

// Steps in containers of an OCI runtime, with the same protections and the same result.
// `runtime`: crun, runc, runsc or a path; "": crun, else runc, the first that works in an
// empty image. kNotFound when there is none, kUnsupported with the runtimes' own words when
// none works. RunSpec::terminal and read_only_root are not supported.
Result<std::unique_ptr<Executor>> make_oci_executor(const std::string& store_directory,
                                                    const std::string& runtime,
                                                    const SeccompChoice& seccomp);

// nullopt: programs of this platform run here, natively or by a handler of binfmt_misc
// that also works inside an image (registered with the flag F). Otherwise one sentence:
// why not, and what to install or register. Reads files only; thread-safe.
std::optional<std::string> why_cannot_execute(const oci::Platform& platform);

}  // namespace kasane::exec
