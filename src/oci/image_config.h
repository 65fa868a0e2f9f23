// Image configuration: OCI image-spec config.md, with docker's extra members. Pure values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"

namespace kasane::oci {

struct Healthcheck {
  std::vector<std::string> test;  // {"NONE"}, {"CMD", ...}, {"CMD-SHELL", text}
  int64_t interval_ns = 0, timeout_ns = 0, start_period_ns = 0, start_interval_ns = 0;
  int64_t retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

struct ContainerConfig {
  std::string user;
  std::set<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> env;         // "K=V", order kept
  std::optional<std::vector<std::string>> entrypoint;  // nullopt = null
  std::optional<std::vector<std::string>> cmd;
  std::set<std::string> volumes;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  bool args_escaped = false;
  std::optional<Healthcheck> healthcheck;
  std::vector<std::string> on_build;
  std::optional<std::vector<std::string>> shell;
  std::string unknown_json;  // object text with members kasane does not know, or ""

  // Replaces the value of a key in place or appends.
  void set_env(std::string_view key, std::string_view value);
  const std::string* find_env(std::string_view key) const;  // the whole "K=V"
};

struct HistoryEntry {
  std::string created;     // RFC 3339 with up to nanoseconds, or ""
  std::string author;
  std::string created_by;
  std::string comment;
  bool empty_layer = false;
};

struct ImageConfig {
  std::string architecture, os, variant, os_version;
  std::vector<std::string> os_features;
  std::string author;
  std::string created;  // RFC 3339, or ""
  ContainerConfig config;
  std::vector<Sha256Digest> diff_ids;
  std::vector<HistoryEntry> history;
  std::string unknown_json;  // top-level members kasane does not know, kept

  // Limits of reference R2 (4 MiB, depth 64, duplicate keys refused, UTF-8).
  static Result<ImageConfig> parse(std::string_view json);
  // BuildKit's byte form (dockerfile.md 1.21): compact, top-level keys sorted, members of
  // `config` in docker's struct order, empty ones left out, Go's HTML escaping (<, >, & and
  // U+2028/9 as \uXXXX). Same value → same bytes.
  std::string serialize() const;
};

// RFC 3339 in UTC with nanoseconds, trailing zeros of the fraction dropped (Go's RFC3339Nano).
std::string format_time(int64_t unix_ns);
std::optional<int64_t> parse_time(std::string_view rfc3339);

}  // namespace kasane::oci
