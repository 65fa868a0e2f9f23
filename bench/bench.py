#!/usr/bin/env python3
"""Runs kasane beside buildah, docker and skopeo on the same inputs; prints medians and ratios. See bench/README.md."""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from harness import cases, tools  # noqa: E402
from harness.measure import Failed, Meter  # noqa: E402
from harness.tools import Skip  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--kasane", metavar="PATH", help="the kasane binary (default: build/*/bin/kasane, then PATH)")
    p.add_argument("--tools", default="kasane,buildah,docker,skopeo")
    p.add_argument("--cases", default="a,b,c,d,e,f")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeat", type=int, default=5, help="repeats of each short command of (f) per round")
    p.add_argument("--layer-mib", type=int, help="(e): MiB of each layer (default: 1024, small: 8)")
    p.add_argument("--size", choices=("small", "full"), default="full")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workdir", help="default: a new folder below TMPDIR")
    p.add_argument("--keep", action="store_true", help="keep the work folder (inputs are reused by the next run)")
    p.add_argument("--json", metavar="FILE", help="also write every sample; - for stdout instead of the table")
    p.add_argument("--timeout", type=int, default=900, help="seconds for one command")
    p.add_argument("--start-dockerd", action="store_true", help="start a private dockerd, stop it at the end")
    p.add_argument("--docker-host", metavar="URL", help="use this daemon; its build cache WILL be pruned")
    p.add_argument("--docker-storage", default="overlay2,vfs", help="storage drivers to try, in order")
    p.add_argument("--docker", metavar="PATH", help="docker client (default: /usr/bin/docker, then PATH)")
    p.add_argument("--buildah", default="buildah", metavar="PATH")
    p.add_argument("--busybox", default=shutil.which("busybox"), help="a static busybox, the base image")
    p.add_argument("--bases", metavar="DIR", help="tars and sidecars from examples/bases/make.sh, for (b)")
    p.add_argument("--node-app", default=os.path.join(HERE, "..", "examples", "node-app"))
    p.add_argument("--kasane-base", choices=("unpacked", "imported"), default="unpacked",
                   help="state of kasane's base images before a cold run")
    p.add_argument("--kasane-build-args", default="")
    p.add_argument("--strict", action="store_true", help="exit 1 on a failure or an unexpected cache answer of kasane")
    o = p.parse_args()
    o.repo = os.path.dirname(HERE)
    return o


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_case(case, active, rounds, meter):
    """Every step once per round and tool, in turn, so that a noisy minute hits all of them."""
    rows = {(s.name, t.name): {"samples": [], "note": ""} for s in case.steps for t in active}
    ready = []
    for t in active:
        try:
            case.prepare(t)
            ready.append(t)
        except (Failed, Skip, OSError) as e:
            for s in case.steps:
                rows[s.name, t.name]["note"] = f"failed: {e}"
            say(f"  {t.name}: FAILED: {e}")
    for n in range(rounds):
        for s in case.steps:
            if s.before:
                s.before()
            for t in ready:
                row = rows[s.name, t.name]
                if row["note"]:
                    continue
                try:
                    row["samples"] += case.run(t, s, meter)
                except Skip as e:
                    row["note"] = f"skipped: {e}"
                except (Failed, OSError, IndexError) as e:
                    row["note"] = f"failed: {e}"
                    say(f"  {s.name}: {t.name}: FAILED: {e}")
        say(f"  round {n + 1} of {rounds} done, load {os.getloadavg()[0]:.1f}")
    return [{"case": case.key, "title": case.title, "step": s.name, "tool": t.name, "expect": s.expect,
             **rows[s.name, t.name]} for s in case.steps for t in active]


def summarize(rows):
    for r in rows:
        samples = r["samples"]
        if not samples:
            continue
        cpu = [x["cpu"] + x.get("daemon_cpu", 0) for x in samples]
        wall = [x["wall"] for x in samples]
        r["median"] = {"wall": statistics.median(wall), "wall_min": min(wall), "wall_max": max(wall),
                       "cpu": statistics.median(cpu), "rss_mib": max(x["rss_kib"] for x in samples) / 1024}
        if "daemon_rss_kib" in samples[0]:
            r["median"]["daemon_rss_mib"] = max(x["daemon_rss_kib"] for x in samples) / 1024
            r["median"]["client_cpu"] = statistics.median(x["cpu"] for x in samples)
        answers = {x["cache"] for x in samples if "cache" in x}
        r["cache"] = "/".join(sorted(answers))
        r["as_expected"] = all(x.get("as_expected", True) for x in samples)
    base = {(r["case"], r["step"]): r["median"] for r in rows if r["tool"] == "kasane" and "median" in r}
    for r in rows:
        b = base.get((r["case"], r["step"]))
        if b and "median" in r:
            r["ratio"] = {k: r["median"][k] / b[k] if b[k] > 0 else None for k in ("wall", "cpu")}


def bare_command(busybox, times=30):
    """Seconds of the same command on the host, at best."""
    best = 1e9
    for _ in range(times):
        begin = time.monotonic()
        os.waitpid(os.posix_spawn(busybox, ["sh", "-c", "true"], os.environ), 0)
        best = min(best, time.monotonic() - begin)
    return best


def run_cost(rows, bare):
    """What one RUN costs in case (a), over the bare command: (ten - one) / 9, at best and in the middle."""
    lines = []
    for tool in dict.fromkeys(r["tool"] for r in rows if r["case"] == "a"):
        found = {r["step"]: r["median"] for r in rows if r["case"] == "a" and r["tool"] == tool and "median" in r}
        if not {"RUN true", "10 x RUN true"} <= found.keys():
            continue
        one, ten = found["RUN true"], found["10 x RUN true"]
        low, middle = ((ten[k] - one[k]) / 9 * 1e3 for k in ("wall_min", "wall"))
        lines.append(f"{tool}: {low:.1f} ms at best, {middle:.1f} ms in the middle; over the bare command "
                     f"({bare * 1e3:.1f} ms) {low - bare * 1e3:.1f} ms and {middle - bare * 1e3:.1f} ms")
    return lines


def table(rows):
    head = ("step", "tool", "wall s", "(min-max)", "CPU s", "peak MiB", "x wall", "x CPU", "cache", "")
    out, title = [], None
    for r in rows:
        if r["title"] != title:
            title = r["title"]
            out += [None, f"({r['case']}) {title}", head]
        m = r.get("median")
        if m is None:
            out.append((r["step"], r["tool"], "-", "", "-", "-", "-", "-", "", r["note"][:160]))
            continue
        ratio = r.get("ratio", {})
        show = lambda v: "-" if v is None else f"{v:.1f}"  # noqa: E731
        peak = f"{m['rss_mib']:.0f}" + (f"+{m['daemon_rss_mib']:.0f}" if "daemon_rss_mib" in m else "")
        out.append((r["step"], r["tool"], f"{m['wall']:.3f}", f"({m['wall_min']:.3f}-{m['wall_max']:.3f})",
                    f"{m['cpu']:.2f}", peak, show(ratio.get("wall")), show(ratio.get("cpu")), r["cache"],
                    r["note"][:160] if r["note"] else "" if r["as_expected"] else f"EXPECTED {r['expect']}"))
    cells = [o for o in out if isinstance(o, tuple)]
    widths = [max(len(c[i]) for c in cells) for i in range(len(head))] if cells else []
    lines = []
    for o in out:
        if isinstance(o, tuple):
            lines.append("  ".join(c.ljust(w) if i in (0, 1, 8, 9) else c.rjust(w)
                                   for i, (c, w) in enumerate(zip(o, widths))).rstrip())
        else:
            lines.append(o or "")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.busybox is None:
        sys.exit("bench: a static busybox is needed (Debian: busybox-static), or --busybox PATH")
    if os.geteuid() != 0:
        say("bench: not root: the peers' rootless modes are not set up by this harness")
    work = os.path.abspath(options.workdir or tempfile.mkdtemp(prefix="kbench-"))
    os.makedirs(f"{work}/inputs", exist_ok=True)
    active, skipped, rows = [], {}, []
    try:
        meter = Meter(work, os.path.join(HERE, "measure.cc"), options.timeout)
        for name in options.tools.split(","):
            try:
                active.append(tools.ALL[name](work, options))
                say(f"{name}: {active[-1].version} ({active[-1].note})" if active[-1].note else f"{name}: {active[-1].version}")
            except (Skip, Failed) as e:
                skipped[name] = str(e)
                say(f"{name}: SKIPPED: {e}")
        known = set()
        # (f) last: its images stay in docker's store.
        for key in sorted(options.cases.split(","), key=lambda k: k == "f"):
            try:
                case, bases = cases.make(key, f"{work}/inputs", options)
            except Skip as e:
                skipped[f"({key})"] = str(e)
                say(f"({key}): SKIPPED: {e}")
                continue
            say(f"({key}) {case.title}")
            able = [t for t in active if key in t.cases]
            for base, tar in bases.items():
                if base not in known:
                    known.add(base)
                    for t in able:
                        t.add_base(base, tar, cases.sidecar_of(tar))
            try:
                rows += run_case(case, able, options.rounds, meter)
            finally:
                case.close()
    finally:
        for t in active:
            t.close()
        if not options.keep and not options.workdir:
            tools.remove_tree(work)
        else:
            say(f"work folder: {work}")
    summarize(rows)
    report = {"when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()},
              "size": options.size, "seed": options.seed, "rounds": options.rounds,
              "tools": {t.name: {"version": t.version, "note": t.note} for t in active},
              "skipped": skipped, "memory_note": meter.note, "rows": rows}
    if options.json == "-":
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        print(table(rows))
        for line in run_cost(rows, bare_command(options.busybox)):
            print(f"one RUN with {line}")
        for name, why in skipped.items():
            print(f"\nSKIPPED {name}: {why}")
        if meter.note:
            print(f"\n{meter.note}")
        if options.json:
            with open(options.json, "w") as f:
                json.dump(report, f, indent=1)
    mine = [r for r in rows if r["tool"] == "kasane"]
    if options.strict and ("kasane" in skipped or not mine or
                           any(not r["samples"] or r["note"] or not r.get("as_expected", True) for r in mine)):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
