#include "exec/sandbox/launcher.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "exec/sandbox/step_channel.h"
#include "exec/sandbox/step_group.h"
#include "exec/sandbox/supervisor.h"
#include "exec/sandbox/user_network.h"

namespace kasane::exec {
namespace {

Result<Child> clone_supervisor(LaunchPlan& plan, Channel& channel) {
  plan.status_fd = channel.status.write_end.get();
  plan.control_fd = channel.control.read_end.get();
  plan.builder_fd = channel.builder.get();
  plan.stdin_fd = channel.in.read_end.get();
  plan.stdout_fd = channel.out.write_end.get();
  plan.stderr_fd = channel.err.write_end.get();
  plan.pty_fd = channel.pty_theirs.get();
  // No handler of ours may run in the child before it has reset them.
  sigset_t old_mask;
  block_all_signals(&old_mask);
  int pidfd = -1;
  pid_t pid = clone_process(supervisor_namespaces(plan), &pidfd);
  if (pid == 0) supervise(plan);
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  if (pid < 0) return explain_clone_error(error);
  for (UniqueFd* theirs :
       {&channel.status.write_end, &channel.control.read_end, &channel.in.read_end,
        &channel.out.write_end, &channel.err.write_end, &channel.pty_theirs})
    theirs->reset();
  return Child(pid, pidfd);
}

std::vector<GroupPlan> plan_of(const StepGroup& group) {
  std::vector<GroupPlan> plans;
  for (const StepGroup::Place& place : group.places())
    plans.push_back({place.name.c_str(), place.enter.get(), place.directory.get(),
                     place.parent_directory.get(), place.v2});
  return plans;
}

Result<RunOutcome> outcome_of(const Channel& channel, const LogCallback& log,
                              const StepGroup& group) {
  if (channel.stopped) return Error(ErrorKind::kCancelled, "the step was stopped");
  if (channel.setup_error) return explain_setup_error(*channel.setup_error);
  RunOutcome outcome;
  outcome.timed_out = channel.timed_out;
  if (!channel.exit) {
    outcome.exit_status = 128 + SIGKILL;
    outcome.signal = SIGKILL;
    if (outcome.timed_out) return outcome;  // even its supervisor had to be killed
    return Error(ErrorKind::kIo, "the supervisor of the step was killed")
        .hint("look for the out-of-memory killer in the kernel log");
  }
  outcome.exit_status = channel.exit->exit_status;
  if (channel.exit->signal != 0) outcome.signal = channel.exit->signal;
  // Where the kernel does not count, a SIGKILL that we did not send tells.
  bool killed = outcome.signal == SIGKILL || outcome.exit_status == 128 + SIGKILL;
  std::optional<uint64_t> kills = group.memory_kills();
  outcome.out_of_memory = group.limits_memory() && outcome.exit_status != 0 && !outcome.timed_out &&
                          (kills ? *kills > 0 : killed);
  outcome.out_of_pids = outcome.exit_status != 0 && group.pids_refusals() > 0;
  outcome.max_rss_bytes = channel.exit->max_rss_bytes;
  outcome.user_ns = channel.exit->user_ns;
  outcome.system_ns = channel.exit->system_ns;
  if (channel.exec_error) {
    outcome.exec_error = channel.exec_error->text;
    log(outcome.exec_error + "\n", 2);
  }
  return outcome;
}

// Of the limits that the user asked for.
std::string limit_note_of(const RunSpec& spec, const Channel& channel, StepGroup::Notes notes) {
  std::string note = std::move(notes.memory);
  if (spec.pids_limit_asked && !notes.pids.empty()) note += (note.empty() ? "" : "; ") + notes.pids;
  bool asked = spec.memory_limit_bytes != 0 || spec.pids_limit_asked;
  if (channel.limit_note && asked && note.empty()) note = channel.limit_note->text;
  return note;
}

}  // namespace

Child::~Child() {
  if (pid_ < 0) return;
  kill();
  wait();
}

void Child::kill() {
  if (pid_ >= 0) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

void Child::wait() {
  if (pid_ < 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<RunOutcome> launch_step(LaunchPlan& plan, const IdMaps& maps, const RunSpec& spec,
                               const LogCallback& log, std::stop_token stop) {
  auto start = std::chrono::steady_clock::now();
  StepGroup::Notes notes;
  // Removed after the child is gone.
  StepGroup group = StepGroup::make({spec.memory_limit_bytes, spec.pids_limit}, notes);
  std::vector<GroupPlan> group_plans = plan_of(group);
  plan.groups = group_plans.data();
  plan.group_count = group_plans.size();
  Channel channel = TRY(open_channel(spec));
  Child child = TRY(clone_supervisor(plan, channel));
  if (plan.user_namespace) TRY_CONTEXT(write_id_maps(child.pid(), maps), "map user ids");
  std::optional<UserNetwork> network;  // ends after the step that it serves
  if (plan.user_network)
    network = TRY_CONTEXT(UserNetwork::start(*plan.user_network, child.pid()), "prepare RUN");
  TRY(write_all(channel.control.write_end.get(), std::span(&kControlGo, 1),
                "pipe to the supervisor"));
  PumpOptions options{spec.time_limit_ns, spec.stdin_fd,   spec.signal_fd,
                      spec.terminal,      std::move(stop), spec.kill};
  TRY(pump(channel, options, log, [&child] { child.kill(); }));
  child.wait();
  network.reset();
  RunOutcome outcome = TRY(outcome_of(channel, log, group));
  outcome.limit_note = limit_note_of(spec, channel, std::move(notes));
  outcome.wall_ns = static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
  return outcome;
}

}  // namespace kasane::exec
