#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The system calls of mgmtd: each call that the filter allows (and that is not marked as a spare for
other hosts) is used, and none that mgmtd needs is refused. Both by strace, over a life in which it
does everything that it can."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

from stack import MGMTD, Stack

# libc tries clone3 first and is content with clone.
REFUSED_ON_PURPOSE = {"clone3"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def live(stack, port):
    """Everything that mgmtd does."""
    def bh(*args, **more):
        done = stack.run(*args, **more)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    bh("create", "a", "--kernel", stack.path("kernel"), "--memory", "64M")
    bh("start", "a")
    bh("console", "a", "--expect", "guest", "--send", "flood 300000\\nhi\\n", "--until", "heard")
    bh("pause", "a")
    bh("resume", "a")
    bh("reset", "a")
    bh("console", "a", stdin="poweroff\n")
    with open(stack.path("a.vmc"), "w", encoding="utf-8") as f:
        f.write(bh("export", "a"))
    bh("define", stack.path("a.vmc"))
    bh("keys", "generate", stack.path("key"))
    stack.run("--key", stack.path("key"), "list")
    bh("keys", "add", "x", stack.path("key"), "view")
    bh("--key", stack.path("key"), "--server", "tcp://127.0.0.1:" + port,
       "--server-key", stack.path("run/server.pub"), "list")
    bh("keys", "remove", "x")
    bh("start", "a")
    stack.broker.kill()
    stack.broker.wait()
    stack.wait_for(lambda: "Off" in bh("list"))
    stack.start_broker()
    stack.wait_for(lambda: stack.run("start", "a").returncode == 0)
    bh("off", "a")
    bh("delete", "a")


def calls_in(trace):
    """(calls made after the filter was in place, those of them that were refused)"""
    made, refused, pending, after = set(), set(), {}, False
    for line in trace:
        pid, rest = line.split(None, 1)
        m = re.match(r"(\w+)\(", rest)
        if m:
            pending[pid] = m.group(1)
        m = m or re.match(r"<\.\.\. (\w+) resumed", rest)
        if not m:
            continue
        if after:
            made.add(m.group(1))
            if "ENOSYS" in rest:
                refused.add(m.group(1))
        after = after or m.group(1) == "seccomp"
    return made, refused


def main():
    if not shutil.which("strace"):
        print("SKIP: there is no strace")
        return 77
    table = [line.split("\t") for line in
             subprocess.run([MGMTD, "--policy"], capture_output=True, text=True,
                            check=True).stdout.splitlines()]
    port = free_port()
    stack = Stack(["strace", "-f", "-qq", "-o", "/dev/null"])
    stack.prefix[-1] = stack.path("trace")
    try:
        stack.start("--tcp-port", port)
        if "seccomp on" not in stack.run("host").stdout:
            print("SKIP: this build has no filter (a sanitizer)")
            return 77
        live(stack, port)
        traced = int(subprocess.run(["pgrep", "-P", str(stack.mgmtd.pid)], capture_output=True,
                                    text=True, check=True).stdout)
        os.kill(traced, signal.SIGTERM)
        stack.mgmtd.wait(20)
        with open(stack.path("trace"), encoding="utf-8", errors="replace") as f:
            made, refused = calls_in(f)
    finally:
        stack.stop()
    unused = [name for name, kind, _ in table if kind == "used" and name not in made]
    for name in unused:
        print(f"not ok: {name} is allowed and never used")
    for name in refused - REFUSED_ON_PURPOSE:
        print(f"not ok: {name} is used and refused")
    print(f"{len(table)} calls allowed, {len(made)} used")
    return 1 if unused or refused - REFUSED_ON_PURPOSE else 0


if __name__ == "__main__":
    sys.exit(main())
