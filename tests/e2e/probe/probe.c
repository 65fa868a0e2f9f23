/* The probe: a program for RUN that prints, as one line of JSON, what a step can see and do.

   Usage: probe [--host NAME=INODE]... [--masked PATH]... [--closed PATH]...
     --host    a namespace of the host by its name below /proc/self/ns and its inode number
     --masked  must be there and empty; "*" stands for one part of a path
     --closed  is opened for writing; a path that ends in a slash is a folder to create a file in

       probe flip SECONDS STOP A B
     exchanges the names A and B in a tight loop, until a file STOP is there or the time is over

   Facts of process and kernel are printed as they are; probe_test.py normalises and compares them. Linked
   statically, so that it runs in an empty image. Nothing here changes what a later part reports. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Printing JSON: a comma before everything but the first of its level. */

static int need_comma;

static void separate(void) {
  if (need_comma) putchar(',');
  need_comma = 0;
}

static void quote(const char* text) {
  putchar('"');
  for (const unsigned char* p = (const unsigned char*)text; *p; ++p) {
    if (*p == '"' || *p == '\\')
      printf("\\%c", *p);
    else if (*p < 0x20 || *p >= 0x7f)
      printf("\\u%04x", *p);
    else
      putchar(*p);
  }
  putchar('"');
}

static void key(const char* name) {
  separate();
  quote(name);
  putchar(':');
}

static void open_with(char bracket) {
  separate();
  putchar(bracket);
}

static void close_with(char bracket) {
  putchar(bracket);
  need_comma = 1;
}

static void text(const char* value) {
  separate();
  quote(value);
  need_comma = 1;
}

static void number(long long value) {
  separate();
  printf("%lld", value);
  need_comma = 1;
}

static void text_of(const char* name, const char* value) {
  key(name);
  text(value);
}

static void number_of(const char* name, long long value) {
  key(name);
  number(value);
}

static void format_of(const char* name, const char* format, ...) {
  char buffer[4608];
  va_list list;
  va_start(list, format);
  vsnprintf(buffer, sizeof buffer, format, list);
  va_end(list);
  text_of(name, buffer);
}

/* "ok", or the name of errno. Descriptors that a test opened are closed. */
static const char* error_name(int error) {
  const char* name = error == 0 ? "ok" : strerrorname_np(error);
  return name ? name : "unknown";
}

static const char* outcome(long result) { return error_name(result >= 0 ? 0 : errno); }

static const char* fd_outcome(long fd) {
  const char* name = outcome(fd);
  if (fd >= 0) close((int)fd);
  return name;
}

/* The whole of a small file of /proc. */
static char* slurp(const char* path) {
  size_t size = 0, room = 1 << 16;
  char* data = malloc(room);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    snprintf(data, room, "%s", error_name(errno));
    return data;
  }
  for (ssize_t n; (n = read(fd, data + size, room - size - 1)) > 0;) {
    size += (size_t)n;
    if (room - size < 4096) data = realloc(data, room *= 2);
  }
  close(fd);
  data[size] = '\0';
  return data;
}

static void lines_of(const char* name, const char* path) {
  char* data = slurp(path);
  key(name);
  open_with('[');
  for (char* line = strtok(data, "\n"); line; line = strtok(NULL, "\n")) text(line);
  close_with(']');
  free(data);
}

static void link_of(const char* name, const char* path) {
  char target[4096];
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n < 0) {
    text_of(name, error_name(errno));
    return;
  }
  target[n] = '\0';
  text_of(name, target);
}

/* What is reported */

static void identity(void) {
  gid_t groups[256];
  uid_t r, e, s;
  getresuid(&r, &e, &s);
  key("uid");
  open_with('['), number(r), number(e), number(s), close_with(']');
  getresgid(&r, &e, &s);
  key("gid");
  open_with('['), number(r), number(e), number(s), close_with(']');
  int count = getgroups(256, groups);
  key("groups");
  open_with('[');
  for (int i = 0; i < count; ++i) number(groups[i]);
  close_with(']');
  number_of("pid", getpid());
  number_of("ppid", getppid());
  number_of("session", getsid(0));
  key("status");
  open_with('{');
  char* status = slurp("/proc/self/status");
  static const char* const wanted[] = {"CapInh", "CapPrm",  "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
                                       "Seccomp", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"};
  for (char* line = strtok(status, "\n"); line; line = strtok(NULL, "\n")) {
    char* colon = strchr(line, ':');
    if (!colon) continue;
    *colon = '\0';
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i)
      if (strcmp(line, wanted[i]) == 0) text_of(line, colon + 1 + strspn(colon + 1, " \t"));
  }
  free(status);
  close_with('}');
}

static void surroundings(int argc, char** argv, char** environment) {
  char cwd[4096];
  key("argv");
  open_with('[');
  for (int i = 0; i < argc; ++i) text(argv[i]);
  close_with(']');
  key("env");
  open_with('[');
  for (char** p = environment; *p; ++p) text(*p);
  close_with(']');
  text_of("cwd", getcwd(cwd, sizeof cwd) ? cwd : error_name(errno));
  mode_t mask = umask(0);
  umask(mask);
  format_of("umask", "%03o", mask);
  struct utsname name;
  uname(&name);
  text_of("hostname", name.nodename);
  text_of("domainname", name.domainname);
  lines_of("cgroup", "/proc/self/cgroup");
  lines_of("resolv.conf", "/etc/resolv.conf");
  lines_of("hosts", "/etc/hosts");
  lines_of("uid_map", "/proc/self/uid_map");
  text_of("tty", fd_outcome(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)));
  int null_flags = fcntl(0, F_GETFL);
  number_of("stdin_access", null_flags < 0 ? -1 : null_flags & O_ACCMODE);
}

static void limits(void) {
  static const struct {
    const char* name;
    int id;
  } all[] = {{"as", RLIMIT_AS},           {"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},
             {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},   {"locks", RLIMIT_LOCKS},
             {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
             {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},   {"rss", RLIMIT_RSS},
             {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING},
             {"stack", RLIMIT_STACK}};
  key("limits");
  open_with('{');
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    struct rlimit limit;
    getrlimit(all[i].id, &limit);
    key(all[i].name);
    open_with('[');
    number(limit.rlim_cur == RLIM_INFINITY ? -1 : (long long)limit.rlim_cur);
    number(limit.rlim_max == RLIM_INFINITY ? -1 : (long long)limit.rlim_max);
    close_with(']');
  }
  close_with('}');
}

static void descriptors(void) {
  key("fds");
  open_with('{');
  DIR* directory = opendir("/proc/self/fd");
  for (struct dirent* entry; directory && (entry = readdir(directory));) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory)) continue;
    char path[300];
    snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
    link_of(entry->d_name, path);
  }
  if (directory) closedir(directory);
  close_with('}');
}

/* "own" when it differs from the host's. */
static void namespaces(char** hosts, int count) {
  key("namespaces");
  open_with('{');
  for (int i = 0; i < count; ++i) {
    char* equals = strchr(hosts[i], '=');
    char path[128];
    struct stat st;
    if (!equals) continue;
    *equals = '\0';
    snprintf(path, sizeof path, "/proc/self/ns/%s", hosts[i]);
    if (stat(path, &st) != 0)
      text_of(hosts[i], error_name(errno));
    else
      text_of(hosts[i], st.st_ino == strtoull(equals + 1, NULL, 10) ? "host" : "own");
    *equals = '=';
  }
  close_with('}');
}

static void list_devices(const char* folder, const char* prefix) {
  DIR* directory = opendir(folder);
  if (!directory) return;
  for (struct dirent* entry; (entry = readdir(directory));) {
    char path[600], name[600];
    struct stat st;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
    if (lstat(path, &st) != 0) continue;
    if (S_ISLNK(st.st_mode)) {
      char target[4096];
      ssize_t n = readlink(path, target, sizeof target - 1);
      target[n < 0 ? 0 : n] = '\0';
      format_of(name, "link %s", target);
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      format_of(name, "%s %u:%u %04o", S_ISCHR(st.st_mode) ? "char" : "block", major(st.st_rdev),
                minor(st.st_rdev), st.st_mode & 07777);
    } else {
      format_of(name, "%s %04o %u:%u", S_ISDIR(st.st_mode) ? "dir" : S_ISREG(st.st_mode) ? "file" : "other",
                st.st_mode & 07777, st.st_uid, st.st_gid);
      char below[600];
      snprintf(below, sizeof below, "%.500s/", name);
      if (S_ISDIR(st.st_mode)) list_devices(path, below);
    }
  }
  closedir(directory);
}

static const char* open_outcome(const char* path, int flags) {
  return fd_outcome(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
}

/* Making a node, and opening it: a step as root may make one, but must not reach a device with it. */
static void try_node(const char* name, const char* path, mode_t type, unsigned from, unsigned to) {
  key(name);
  open_with('[');
  text(outcome(mknod(path, type | 0600, makedev(from, to))));
  text(open_outcome(path, O_RDONLY));
  close_with(']');
  unlink(path);
}

static void devices(void) {
  key("dev");
  open_with('{');
  list_devices("/dev", "");
  close_with('}');
  char byte = 'x';
  key("dev_use");
  open_with('{');
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  text_of("write null", outcome(write(fd, &byte, 1)));
  number_of("read null", read(fd, &byte, 1));
  close(fd);
  fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  text_of("write full", outcome(write(fd, &byte, 1)));
  close(fd);
  for (int i = 0; i < 3; ++i) {
    static const char* const names[] = {"read zero", "read random", "read urandom"};
    static const char* const paths[] = {"/dev/zero", "/dev/random", "/dev/urandom"};
    fd = open(paths[i], O_RDONLY | O_CLOEXEC);
    number_of(names[i], read(fd, &byte, 1));
    close(fd);
  }
  text_of("new terminal", open_outcome("/dev/ptmx", O_RDWR));
  try_node("node in /dev", "/dev/probe-node", S_IFCHR, 1, 3);
  try_node("disk in /dev", "/dev/probe-disk", S_IFBLK, 8, 0);
  try_node("node in /tmp", "/tmp/probe-node", S_IFCHR, 1, 3);
  try_node("disk in /tmp", "/tmp/probe-disk", S_IFBLK, 8, 0);
  try_node("kernel memory", "/tmp/probe-mem", S_IFCHR, 1, 1);
  close_with('}');
}

/* "empty", "absent", "content", or why it cannot be read. */
static const char* emptiness(const char* path) {
  struct stat st;
  if (stat(path, &st) != 0) return errno == ENOENT ? "absent" : error_name(errno);
  if (S_ISDIR(st.st_mode)) {
    DIR* directory = opendir(path);
    if (!directory) return error_name(errno);
    int count = 0;
    for (struct dirent* entry; (entry = readdir(directory));)
      count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count == 0 ? "empty" : "content";
  }
  char byte;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return error_name(errno);
  ssize_t n = read(fd, &byte, 1);
  int error = errno;
  close(fd);
  return n == 0 ? "empty" : n > 0 ? "content" : error_name(error);
}

static void masked(char** paths, int count) {
  key("masked");
  open_with('{');
  for (int i = 0; i < count; ++i) {
    glob_t found;
    const char* verdict = "absent";
    if (glob(paths[i], GLOB_NOSORT, NULL, &found) == 0)
      for (size_t k = 0; k < found.gl_pathc; ++k) {
        const char* one = emptiness(found.gl_pathv[k]);
        if (strcmp(verdict, "absent") == 0 || strcmp(one, "empty") != 0) verdict = one;
      }
    text_of(paths[i], verdict);
  }
  close_with('}');
}

static void closed(char** paths, int count) {
  key("closed");
  open_with('{');
  for (int i = 0; i < count; ++i) {
    char path[4096];
    size_t size = strlen(paths[i]);
    int folder = size > 0 && paths[i][size - 1] == '/';
    snprintf(path, sizeof path, "%s%s", paths[i], folder ? "probe-file" : "");
    text_of(paths[i], open_outcome(path, folder ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY));
  }
  close_with('}');
}

/* Every call is made in a child of its own, and such that it does no harm where it is allowed. */
static const char* in_child(long (*call)(void)) {
  int ends[2];
  int error = EIO;
  if (pipe2(ends, O_CLOEXEC) != 0) return error_name(errno);
  pid_t pid = fork();
  if (pid == 0) {
    errno = 0;
    error = call() >= 0 ? 0 : errno;
    (void)!write(ends[1], &error, sizeof error);
    _exit(0);
  }
  close(ends[1]);
  if (pid < 0) error = errno;
  if (pid > 0 && read(ends[0], &error, sizeof error) != sizeof error) error = EIO;
  close(ends[0]);
  if (pid > 0) waitpid(pid, NULL, 0);
  return error_name(error);
}

static long call_unshare_user(void) { return unshare(CLONE_NEWUSER); }
static long call_unshare_mount(void) { return unshare(CLONE_NEWNS); }
static long call_unshare_net(void) { return unshare(CLONE_NEWNET); }
static long call_clone_user(void) { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }
static long call_clone3(void) {
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } arguments = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
  return syscall(SYS_clone3, &arguments, sizeof arguments);
}
static long call_setns(void) {
  int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  return setns(fd, 0);
}
static long call_mount(void) { return mount("none", "/", "no-such-type", 0, NULL); }
static long call_remount(void) { return mount(NULL, "/proc/self/fd", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long call_umount(void) { return umount2("/proc/self/fd", MNT_DETACH); }
static long call_pivot_root(void) { return syscall(SYS_pivot_root, "/", "/"); }
static long call_fsopen(void) { return syscall(SYS_fsopen, "tmpfs", 0); }
static long call_open_tree(void) { return syscall(SYS_open_tree, AT_FDCWD, "/", 1); }
static long call_ptrace_init(void) { return ptrace(PTRACE_SEIZE, 1, NULL, NULL); }
static long call_traceme(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static long call_bpf(void) {
  char attributes[128] = {2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0}; /* an array map */
  return syscall(SYS_bpf, 0, attributes, sizeof attributes);
}
static long call_perf(void) {
  char attributes[128] = {1, 0, 0, 0, 128};
  return syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0);
}
static long call_userfaultfd(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); }
static long call_io_uring(void) {
  char parameters[256] = {0};
  return syscall(SYS_io_uring_setup, 1, parameters);
}
/* KEYCTL_GET_KEYRING_ID of the session keyring. */
static long call_keyctl(void) { return syscall(SYS_keyctl, 0, -3, 0); }
static long call_add_key(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, -3); }
static long call_request_key(void) { return syscall(SYS_request_key, "user", "probe", NULL, -3); }
static long call_alg(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0); }
static long call_vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static long call_inet(void) { return socket(AF_INET, SOCK_DGRAM, 0); }
static long call_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long call_personality(void) { return personality(ADDR_NO_RANDOMIZE); }
static long call_swapon(void) { return syscall(SYS_swapon, "/probe", 0); }
static long call_reboot(void) { return syscall(SYS_reboot, 0, 0, 0, NULL); } /* wrong magic: never a reboot */
static long call_module(void) { return syscall(SYS_init_module, "", 0, ""); }
static long call_kexec(void) { return syscall(SYS_kexec_load, 0, 0, NULL, ~0ul); }
static long call_sethostname(void) { return syscall(SYS_sethostname, "probe", -1); }
static long call_settime(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return clock_settime(CLOCK_REALTIME, &now);
}
static long call_handle(void) {
  struct {
    unsigned bytes;
    int type;
    char data[8];
  } handle = {8, 1, {0}};
  int root = open("/", O_RDONLY | O_CLOEXEC);
  return syscall(SYS_open_by_handle_at, root, &handle, O_RDONLY);
}
static long call_chroot(void) { return chroot("/"); }
static long call_setuid(void) { return setuid(1); }
static long call_unknown(void) { return syscall(600); }
static long call_read_init(void) {
  char byte;
  struct iovec {
    void* base;
    size_t size;
  } here = {&byte, 1}, there = {(void*)&call_unknown, 1};
  return syscall(SYS_process_vm_readv, 1, &here, 1, &there, 1, 0);
}

static void system_calls(void) {
  static const struct {
    const char* name;
    long (*call)(void);
  } all[] = {{"socket AF_ALG", call_alg},
             {"socket AF_VSOCK", call_vsock},
             {"socket AF_INET", call_inet},
             {"socket AF_PACKET", call_packet},
             {"unshare user", call_unshare_user},
             {"unshare mount", call_unshare_mount},
             {"unshare net", call_unshare_net},
             {"clone user", call_clone_user},
             {"clone3", call_clone3},
             {"setns", call_setns},
             {"mount", call_mount},
             {"remount", call_remount},
             {"umount", call_umount},
             {"pivot_root", call_pivot_root},
             {"fsopen", call_fsopen},
             {"open_tree", call_open_tree},
             {"ptrace pid 1", call_ptrace_init},
             {"ptrace self", call_traceme},
             {"process_vm_readv pid 1", call_read_init},
             {"bpf", call_bpf},
             {"perf_event_open", call_perf},
             {"userfaultfd", call_userfaultfd},
             {"io_uring_setup", call_io_uring},
             {"keyctl", call_keyctl},
             {"add_key", call_add_key},
             {"request_key", call_request_key},
             {"personality", call_personality},
             {"swapon", call_swapon},
             {"reboot", call_reboot},
             {"init_module", call_module},
             {"kexec_load", call_kexec},
             {"sethostname", call_sethostname},
             {"clock_settime", call_settime},
             {"open_by_handle_at", call_handle},
             {"chroot", call_chroot},
             {"setuid", call_setuid},
             {"unknown call", call_unknown}};
  key("calls");
  open_with('{');
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) text_of(all[i].name, in_child(all[i].call));
  close_with('}');
}

/* The supervisor of the step is pid 1 or the step itself; nothing of it may be readable. */
static void process_one(void) {
  static const char* const files[] = {"environ", "maps", "mem", "stack", "auxv"};
  static const char* const links[] = {"exe", "cwd", "root", "fd/0", "fd/3", "ns/mnt"};
  key("pid 1");
  open_with('{');
  for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/%s", files[i]);
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    text_of(files[i], fd < 0 ? error_name(errno) : outcome(read(fd, &byte, 1)));
    if (fd >= 0) close(fd);
  }
  for (size_t i = 0; i < sizeof links / sizeof *links; ++i) {
    char path[64], target[4096];
    snprintf(path, sizeof path, "/proc/1/%s", links[i]);
    text_of(links[i], outcome(readlink(path, target, sizeof target)));
  }
  char* line = slurp("/proc/1/cmdline");
  text_of("cmdline", line);
  free(line);
  close_with('}');
}

/* The numbers of session keyring and of what is in it: only where keyctl is allowed. */
static void keyring(void) {
  number_of("session_keyring", syscall(SYS_keyctl, 0, -3, 0));
  long found = syscall(SYS_keyctl, 10, -3, "user", "kasane-canary", 0);
  text_of("canary_key", outcome(found));
}

static int flip(int seconds, const char* stop, const char* a, const char* b) {
  const time_t end = time(NULL) + seconds;
  long count = 0;
  while (access(stop, F_OK) != 0 && time(NULL) < end)
    for (int i = 0; i < 100; ++i, ++count)
      if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0) {
        perror("renameat2");
        return 1;
      }
  printf("flipped %ld times\n", count);
  return 0;
}

static int take(int argc, char** argv, const char* option, char** values) {
  int count = 0;
  for (int i = 1; i + 1 < argc; i += 2)
    if (strcmp(argv[i], option) == 0) values[count++] = argv[i + 1];
  return count;
}

int main(int argc, char** argv, char** environment) {
  if (argc == 6 && strcmp(argv[1], "flip") == 0) return flip(atoi(argv[2]), argv[3], argv[4], argv[5]);
  char** values = calloc((size_t)argc + 1, sizeof *values);
  setvbuf(stdout, NULL, _IOFBF, 1 << 20); /* one write, and no forked copies of it */
  open_with('{');
  descriptors(); /* first: nothing of ours is open */
  identity();
  surroundings(argc, argv, environment);
  limits();
  namespaces(values, take(argc, argv, "--host", values));
  lines_of("mounts", "/proc/self/mountinfo");
  devices();
  masked(values, take(argc, argv, "--masked", values));
  closed(values, take(argc, argv, "--closed", values));
  process_one();
  system_calls();
  keyring();
  close_with('}');
  putchar('\n');
  return fflush(stdout) == 0 ? 0 : 1;
}
