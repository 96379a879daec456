#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The systemd unit: systemd finds nothing wrong with it, calls its exposure at most 1.5, and lets
through every system call that the daemon's own filter allows.

UNIT names the configured unit file."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

MGMTD, UNIT = os.environ["MGMTD"], os.environ["UNIT"]


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def calls_of(name, known):
    """The system calls of a set like @system-service."""
    if name in known:
        return known[name]
    known[name] = set()
    for line in run("systemd-analyze", "syscall-filter", name).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            known[name] |= calls_of(word, known)
        elif word and not word.startswith("#"):
            known[name].add(word)
    return known[name]


def allowed_by_unit(text):
    known, allowed = {}, set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", text, re.M):
        remove = words.startswith("~")
        for word in words.lstrip("~").split():
            calls = calls_of(word, known) if word.startswith("@") else {word}
            allowed = allowed - calls if remove else allowed | calls
    return allowed


def main():
    if not shutil.which("systemd-analyze"):
        print("SKIP: there is no systemd-analyze")
        return 77
    with open(UNIT, encoding="utf-8") as f:
        text = f.read()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "bulkhead-mgmtd.service")
        with open(copy, "w", encoding="utf-8") as f:    # the program need not be installed
            f.write(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M))
        verify = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy)
        if verify.returncode or verify.stderr:
            print(f"not ok: verify: {verify.stderr}")
            failed = 1
        security = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                       "--threshold=15", copy)
        print(security.stdout.splitlines()[-1])
        failed |= security.returncode != 0
    policy = run(MGMTD, "--policy").stdout.splitlines()
    needed = {line.split("\t")[0] for line in policy}
    # What it does before its own filter is in place.
    needed |= {"seccomp", "landlock_create_ruleset", "landlock_add_rule",
               "landlock_restrict_self", "execve", "flock"}
    for call in sorted(needed - allowed_by_unit(text)):
        print(f"not ok: the unit forbids {call}")
        failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
