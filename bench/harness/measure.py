"""Running a command and knowing what it cost: wall, CPU, peak RSS, daemon included."""

import json
import os
import shutil
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command that the harness needs has failed; str() names it and ends with its last output."""


def tail(path, lines=4):
    try:
        with open(path, errors="replace") as f:
            return " | ".join(line.strip() for line in f.read().strip().splitlines()[-lines:])
    except OSError:
        return ""


def quiet(cmd, env=None, stdin=None, check=True, timeout=1800):
    """Runs a command outside of any measurement; returns its stdout."""
    p = subprocess.run(cmd, env=env, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout)
    if check and p.returncode != 0:
        last = " | ".join((p.stderr or p.stdout).strip().splitlines()[-3:])
        raise Failed(f"{' '.join(map(str, cmd))}: exit {p.returncode}: {last}")
    return p.stdout


class Daemon:
    """A daemon whose work belongs to the client's commands: its process tree's CPU and peak RSS."""

    def __init__(self, pid):
        self.pid = pid

    def tree(self):
        children = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as f:
                        children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
                except OSError:
                    pass
        todo, found = [self.pid], []
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu(self):
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    # utime, stime, and the same of the children already waited for
                    total += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:15]))
            except OSError:
                pass
        return total / TICKS

    def reset_peak(self):
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/clear_refs", "w") as f:
                    f.write("5")
            except OSError:
                pass

    def peak_kib(self):
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/status") as f:
                    total += next((int(l.split()[1]) for l in f if l.startswith("VmHWM:")), 0)
            except OSError:
                pass
        return total


class Meter:
    """Measures commands through the small launcher (measure.cc), compiled once into the work folder."""

    def __init__(self, workdir, source, timeout):
        self.dir = os.path.join(workdir, "logs")
        os.makedirs(self.dir, exist_ok=True)
        self.timeout = timeout
        self.count = 0
        self.launcher = os.path.join(workdir, "measure")
        self.note = None
        compiler = next((c for c in (os.environ.get("CXX"), "c++", "g++", "clang++") if c and shutil.which(c)), None)
        if compiler is None:
            self.launcher = None
            self.note = "no C++ compiler: started from Python, so peak RSS has the interpreter's as its floor"
        elif not os.path.exists(self.launcher):
            quiet([compiler, "-O2", "-std=c++17", "-static", "-o", self.launcher, source])

    def run(self, name, cmd, env=None, daemon=None):
        """Returns {wall, cpu, rss_kib, daemon_cpu?, daemon_rss_kib?}; raises Failed on a non-zero exit."""
        self.count += 1
        log = os.path.join(self.dir, f"{self.count:04d}-{name}.log")
        out = log[:-4] + ".json"
        if daemon:
            daemon.reset_peak()
            cpu_before = daemon.cpu()
        with open(log, "wb") as f:
            f.write((" ".join(map(str, cmd)) + "\n").encode())
            f.flush()
            start = time.monotonic()
            p = subprocess.Popen(([self.launcher, out] if self.launcher else []) + list(cmd), env=env,
                                 stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                                 start_new_session=True)
            timer = start + self.timeout
            code, usage = None, None
            while code is None:
                if self.launcher:
                    try:
                        code = p.wait(timeout=max(0.1, timer - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        os.killpg(p.pid, signal.SIGKILL)
                        p.wait()
                        raise Failed(f"{name}: no end after {self.timeout} s (log {log})") from None
                else:
                    _, status, usage = os.wait4(p.pid, 0)
                    code = p.returncode = os.waitstatus_to_exitcode(status)
            wall = time.monotonic() - start
        if code != 0:
            raise Failed(f"{name}: exit {code}: {tail(log)} (log {log})")
        if self.launcher:
            with open(out) as f:
                r = json.load(f)
            result = {"wall": r["wall"], "cpu": r["user"] + r["sys"], "rss_kib": r["rss_kib"]}
        else:
            result = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss_kib": usage.ru_maxrss}
        if daemon:
            result["daemon_cpu"] = daemon.cpu() - cpu_before
            result["daemon_rss_kib"] = daemon.peak_kib()
        return result
