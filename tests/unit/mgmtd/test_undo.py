#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Undo disks of mgmtd, with real job processes behind a fake broker. What a guest would write, a
program writes to the undo disks between sessions."""
import os
import shutil
import sys

from disks import Checks, Disks, digest
from stack import Stack

CHECKS = Checks()
check = CHECKS.check


def undo_files(stack, name):
    folder = stack.path(f"state/vms/{name}")
    return sorted(f for f in os.listdir(folder) if f.startswith("undo-"))


def machine(disks, what, action, *ending):
    """A machine with a disk for each ending, and their paths."""
    folder = disks.folder(what)
    paths = [disks.make(os.path.join(folder, f"d{i}.{e}")) for i, e in enumerate(ending)]
    return disks.create(*paths, options=["--undo", action]), paths


def write(disks, name, paths):
    """What a session would write; the contents the disks then show."""
    stack, mirrors = disks.stack, []
    for i, path in enumerate(paths):
        undo = stack.path(f"state/vms/{name}/undo-0-{i}.{path.rsplit('.', 1)[1]}")
        mirror = stack.path(f"mirror{i}")
        with open(mirror, "wb") as f:
            f.truncate(8 << 20)
        disks.poke(undo, mirror, 1000 + i)
        mirrors.append(digest(mirror))
    return mirrors


def keeping(disks):
    stack = disks.stack
    name, paths = machine(disks, "keep", "keep", "vhd", "vhdx")
    before = [digest(p) for p in paths]
    done = stack.run("start", name)
    check("a start makes an undo disk for each disk", done.returncode == 0 and
          undo_files(stack, name) == ["undo-0-0.vhd", "undo-0-1.vhdx"],
          (done.stderr, undo_files(stack, name)))
    check("the storage process gets them, and the disks as their parents",
          set(disks.chain_lengths(name)) == {2}, disks.chain_lengths(name))
    done = stack.run("undo", "commit", name)
    check("no decision while it runs", done.returncode and "off" in done.stderr, done.stderr)
    stack.run("off", name)
    check("they are kept at the end, and shown", undo_files(stack, name) ==
          ["undo-0-0.vhd", "undo-0-1.vhdx"] and disks.json("show", name)["undo_disks"] == 2)
    mirrors = write(disks, name, paths)
    check("the next session goes on with them", stack.run("start", name).returncode == 0
          and disks.chain_lengths(name)[-2:] == [2, 2])
    stack.run("off", name)
    check("and the disks are as they were", [digest(p) for p in paths] == before)
    with open(stack.path("def.vmc"), "w", encoding="utf-8") as f:
        f.write(stack.run("export", name).stdout)
    done = stack.run("define", stack.path("def.vmc"))
    check("the definition cannot change meanwhile", done.returncode and "undo" in done.stderr,
          done.stderr)
    done = stack.run("delete", name)
    check("nor can the machine be deleted", done.returncode and "undo" in done.stderr, done.stderr)
    done = stack.run("undo", "commit", name)
    check("commit puts what was written into the disks", done.returncode == 0 and
          [disks.contents(p) for p in paths] == mirrors, done.stderr)
    check("no undo disk is left, and the machine is Off",
          undo_files(stack, name) == [] and disks.state(name) == "Off",
          undo_files(stack, name))
    check("what was decided is an event", "undo.committed" in stack.run("events").stdout)
    done = stack.run("undo", "discard", name)
    check("then there is nothing to decide", done.returncode and "no undo disks" in done.stderr)
    check("and it can be defined and deleted",
          stack.run("define", stack.path("def.vmc")).returncode == 0
          and stack.run("delete", name).returncode == 0)


def discarding(disks):
    stack = disks.stack
    name, paths = machine(disks, "discard", "discard", "vhd")
    before = [digest(p) for p in paths]
    stack.run("start", name)
    stack.run("console", name, "--send", "poweroff\\n", "--until", "night")
    stack.wait_for(lambda: disks.state(name) == "Off")
    stack.wait_for(lambda: not undo_files(stack, name))
    check("discard at the end of a session, when the guest turned itself off",
          [digest(p) for p in paths] == before)
    stack.run("start", name)
    stack.run("console", name, "--send", "kill worker\\n")
    stack.wait_for(lambda: disks.state(name) == "Off")
    check("but the crash of a process keeps them", undo_files(stack, name) == ["undo-0-0.vhd"])
    stack.run("start", name)
    stack.run("console", name, "--send", "triple\\n")
    stack.wait_for(lambda: disks.state(name) == "Off")
    check("and so does a crash of the guest", undo_files(stack, name) == ["undo-0-0.vhd"])
    done = stack.run("undo", "discard", name)
    check("discard by hand", done.returncode == 0 and not undo_files(stack, name), done.stderr)


def committing(disks):
    stack = disks.stack
    name, paths = machine(disks, "commit", "commit", "vhd", "vhd")
    stack.run("start", name)
    stack.broker.kill()
    stack.broker.wait()
    stack.wait_for(lambda: disks.state(name) == "Off")
    check("the broker's death keeps undo disks", len(undo_files(stack, name)) == 2)
    mirrors = write(disks, name, paths)
    stack.start_broker()
    stack.wait_for(lambda: stack.run("start", name).returncode == 0)
    stack.run("off", name)
    stack.wait_for(lambda: not undo_files(stack, name))
    check("commit at the end of a session", [disks.contents(p) for p in paths] == mirrors)


def crash_in_a_commit(disks):
    """As if mgmtd died after it had merged the first of two."""
    stack = disks.stack
    name, paths = machine(disks, "resume", "keep", "vhd", "vhd")
    stack.run("start", name)
    stack.run("off", name)
    mirrors = write(disks, name, paths)
    saved = stack.path("saved")
    shutil.copytree(stack.path(f"state/vms/{name}"), saved)
    disks.tool("merge", stack.path(f"state/vms/{name}/undo-0-0.vhd"))
    with open(stack.path(f"state/vms/{name}/undo-commit"), "w", encoding="ascii"):
        pass
    done = stack.run("start", name)
    check("no start in the middle of a commit", done.returncode and "committed" in done.stderr,
          done.stderr)
    done = stack.run("undo", "discard", name)
    check("nor can one discard then", done.returncode and "commit" in done.stderr, done.stderr)
    stack.mgmtd.kill()
    stack.mgmtd.wait()
    os.unlink(stack.path("run/api"))
    stack.start()
    stack.wait_for(lambda: not undo_files(stack, name))
    check("the next daemon goes on with the commit", [disks.contents(p) for p in paths] == mirrors)
    check("and then it starts", stack.run("start", name).returncode == 0)
    stack.run("off", name)


def refusals(disks):
    stack = disks.stack
    raw = os.path.join(disks.folder("raw"), "a.img")
    with open(raw, "wb") as f:
        f.truncate(1 << 20)
    os.chmod(raw, 0o666)
    name = disks.create(raw, options=["--undo", "keep"])
    done = stack.run("start", name)
    check("a raw disk cannot have one, and what to do is said",
          done.returncode and raw in done.stderr and "convert" in done.stderr, done.stderr)
    name, paths = machine(disks, "changed", "keep", "vhd")
    stack.run("start", name)
    stack.run("off", name)
    disks.tool("resize", paths[0], "+1M")
    done = stack.run("start", name)
    check("a disk that was changed behind its undo disk ends the start",
          done.returncode and "modified" in done.stderr, done.stderr)
    done = stack.run("undo", "commit", name)
    check("and the commit", done.returncode and "changed" in done.stderr, done.stderr)
    done = stack.run("undo", "discard", name)
    check("of which nothing was begun: it can be discarded", done.returncode == 0, done.stderr)


def main():
    stack = Stack()
    try:
        stack.start()
        disks = Disks(stack)
        for test in (keeping, discarding, committing, crash_in_a_commit, refusals):
            test(disks)
        return CHECKS.status(stack)
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
