// The Dockerfile as values: what parser.h makes and what build, lint and outline read.
// Nothing here is expanded: a Word is the text as it stands after lexing, quotes and
// escapes of word-expanding instructions included; expand.h turns it into a value.
// All types are plain values, copyable, thread-compatible; spans share the SourceText.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/source.h"

namespace kasane::dockerfile {

struct Word {
  std::string text;
  SourceSpan span;  // covers continuation lines when the word crosses them
};

// `<<NAME` and the lines up to its terminator (H01-H06).
struct Heredoc {
  std::string name;      // delimiter, quotes removed
  std::string body;      // lines as written (CRLF kept), each with its line ending, no terminator
  bool expand = true;    // false when any quote stands in the delimiter
  bool chomp = false;    // `<<-`: leading tabs do not count
  int descriptor = 0;    // digits before `<<`; 0 when none
  SourceSpan span;       // the `<<NAME` word
  SourceSpan body_span;  // body and terminator line

  // body, without the leading tabs of every line when chomp is set: what ADD and COPY
  // write and what a RUN with a single heredoc executes.
  std::string content() const;
};

// Command of RUN, CMD, ENTRYPOINT, HEALTHCHECK CMD.
struct CommandLine {
  bool is_exec = false;
  std::vector<std::string> argv;  // exec form; may be empty (`CMD []`)
  std::string text;               // shell form: pieces joined, never expanded by the builder
  std::vector<Heredoc> heredocs;  // RUN only, shell form only
  SourceSpan span;                // from the first to the last byte of the command, without bodies

  // The text is one heredoc marker and nothing else: its content is the script (H08, H09).
  bool is_heredoc_script() const;
  // Script whose first bytes are `#!`: to be executed as a file instead of by the shell (H09).
  bool has_shebang() const;
  // What goes to `sh -c` as one argument: the script's content, or the text, followed for
  // H10 by "\n" + body + terminator of each heredoc. REQUIRES: !is_exec.
  std::string shell_text() const;
};

// One `--name[=value]` as written, quotes already removed (P13).
struct Flag {
  std::string name;
  std::optional<std::string> value;
  SourceSpan span;
};

struct KeyValue {
  Word key;
  Word value;
};

struct Env {
  std::vector<KeyValue> pairs;
  bool legacy_form = false;  // `ENV key rest of line`
};

struct Label {
  std::vector<KeyValue> pairs;
  bool legacy_form = false;
};

struct ArgDefinition {
  Word key;
  std::optional<Word> value;
  std::string description;  // doc comment (P20)
};

struct Arg {
  std::vector<ArgDefinition> args;
};

enum class MountType { kBind, kCache, kTmpfs, kSecret, kSsh };
enum class CacheSharing { kShared, kPrivate, kLocked };

// One `--mount=` after CSV parsing (RM1-RM6). parse_mount() in mount.h makes it; strings
// are as given, so paths may be relative and defaults that depend on the stage are unset.
struct Mount {
  MountType type = MountType::kBind;
  std::string
      from;  // stage, named context or image; empty: build context (bind), empty dir (cache)
  std::string source;              // empty: "/" of `from`
  std::string target;              // relative or empty: joined to WORKDIR; secret, ssh: default
  std::string id;                  // cache, secret, ssh; "" when not given
  std::optional<std::string> env;  // secret: variable to set
  bool read_only = false;          // true by default for bind
  bool required = false;           // secret, ssh
  CacheSharing sharing = CacheSharing::kShared;
  std::optional<uint32_t> mode;  // cache, secret, ssh
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  uint64_t size_bytes = 0;  // tmpfs; 0: no limit asked
};

struct MountFlag {
  Word csv;      // value of --mount, to be parsed again with an expander before running
  Mount parsed;  // parsed without expansion; values holding `$` are kept as text or default
};

enum class NetworkMode { kDefault, kNone, kHost };
enum class SecurityMode { kSandbox, kInsecure };

struct Run {
  CommandLine command;
  std::vector<MountFlag> mounts;
  NetworkMode network = NetworkMode::kDefault;
  SecurityMode security = SecurityMode::kSandbox;
  std::vector<Word> devices;  // --device, as written (R09)
};

struct Cmd {
  CommandLine command;
};

struct Entrypoint {
  CommandLine command;
};

// Shared by COPY and ADD.
struct CopyBase {
  std::vector<Word> sources;  // in order; heredoc words are in inline_files instead
  Word destination;
  std::vector<Heredoc> inline_files;
  std::optional<Word> chown;
  std::optional<Word> chmod;
  bool link = false;
  bool parents = false;        // COPY only
  std::vector<Word> excludes;  // ignore patterns (K29), not expanded
};

struct Copy : CopyBase {
  std::optional<Word> from;  // not expanded (V15, V16)
};

struct Add : CopyBase {
  std::optional<Word> checksum;
  std::optional<bool> keep_git_dir;
  std::optional<bool> unpack;
};

struct Workdir {
  Word path;
};

struct User {
  Word user;
};

struct Expose {
  std::vector<Word> ports;  // sorted as text, as BuildKit does before expansion (I03)
};

struct Volume {
  std::vector<Word> paths;
};

struct StopSignal {
  Word signal;
};

struct Shell {
  std::vector<std::string> argv;  // not empty
};

struct Healthcheck {
  bool none = false;        // HEALTHCHECK NONE
  CommandLine command;      // exec: ["CMD", argv..]; shell: ["CMD-SHELL", text]
  int64_t interval_ns = 0;  // 0: inherit
  int64_t timeout_ns = 0;
  int64_t start_period_ns = 0;
  int64_t start_interval_ns = 0;
  int retries = 0;
};

struct Instruction;

struct Onbuild {
  std::string trigger;  // text stored in the image, heredoc bodies included (I12, H13)
  std::shared_ptr<const Instruction> instruction;  // the same, parsed; never null
};

struct Maintainer {
  std::string name;
};

// The closed set: std::visit over it fails to compile where a new one is missed.
using InstructionValue =
    std::variant<Env, Label, Arg, Run, Cmd, Entrypoint, Copy, Add, Workdir, User, Expose, Volume,
                 StopSignal, Shell, Healthcheck, Onbuild, Maintainer>;

struct Instruction {
  SourceSpan span;             // first byte of the keyword to the last line, heredocs included
  Word keyword;                // as written: "run"
  std::string original;        // logical line: continuation pieces joined, no heredoc bodies
  std::vector<Flag> flags;     // all flags as written, in order
  std::vector<Word> comments;  // comment lines directly above, without `#` and outer blanks
  InstructionValue value;

  std::string_view name() const;  // canonical: "RUN"
};

// A global ARG (before the first FROM).
struct MetaArg {
  SourceSpan span;
  std::string original;
  Word keyword;
  std::vector<Word> comments;
  Arg arg;
};

struct From {
  SourceSpan span;
  std::string original;
  Word keyword;
  Word image;                      // to be expanded with global args only
  std::optional<Word> platform;    // the same
  std::optional<Word> as_keyword;  // "AS" as written
  std::optional<Word> name;        // stage name as written
  std::vector<Word> comments;
};

struct Stage {
  From from;
  int index = 0;
  std::string name;  // lower case; "" if none
  std::string doc_comment;
  std::vector<Instruction> instructions;
  SourceSpan span;  // FROM to the end of the last instruction
};

// The run of `# name=value` comments at the top (D01-D06).
struct Directive {
  std::string name;  // lower case
  Word value;
  SourceSpan span;
};

struct Directives {
  char escape = '\\';
  std::optional<Word> syntax;  // image reference and its command line
  std::optional<Word> check;
  std::vector<Directive> all;
};

// A finding that only the parser can see; rule names are BuildKit's.
struct Warning {
  std::string rule;
  std::string message;
  SourceSpan span;
};

struct Dockerfile {
  std::shared_ptr<const SourceText> source;
  Directives directives;
  std::vector<MetaArg> meta_args;
  std::vector<Stage> stages;  // never empty after parse()
  std::vector<Warning> warnings;

  // Stage that `--target`, COPY --from or mount from names: case-insensitive name, else null.
  // With several of one name the last one before `before_index` wins (K42).
  const Stage* find_stage(std::string_view name, int before_index) const;
};

}  // namespace kasane::dockerfile
