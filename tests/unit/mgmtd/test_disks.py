#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mgmtd and chains of differencing disks, with real job processes behind a fake broker: where parents
are found, and what is said when one is not, is another, or is in use."""
import os
import shutil
import sys

from disks import Checks, Disks
from stack import Stack

CHECKS = Checks()
check = CHECKS.check


def found(name, disks, top, length):
    vm, done = disks.start(top)
    lengths = disks.chain_lengths(vm) if done.returncode == 0 else []
    check(name, done.returncode == 0 and lengths and lengths[-1] == length,
          f"{done.stderr} {lengths}")
    disks.stack.run("off", vm)


def refused(name, disks, words, *images):
    vm, done = disks.start(*images)
    check(name, done.returncode and all(w in done.stderr for w in words), done.stderr)
    return vm, done


def where_parents_are_found(disks):
    found("a chain of three VHDs", disks, disks.chain("vhd")[-1], 3)
    found("a chain of three VHDXs", disks, disks.chain("vhdx", "vhdx")[-1], 3)
    found("the longest chain", disks, disks.chain("long", length=32)[-1], 32)
    refused("one image more is refused", disks, ["more than 31", "merge"],
            disks.make(disks.stack.path("long/c32.vhd"), disks.stack.path("long/c31.vhd")))

    folder = disks.folder("apart")
    base = disks.make(os.path.join(disks.folder("apart/parents"), "base.vhd"))
    top = disks.make(os.path.join(folder, "top.vhd"), base)
    found("a parent in another folder, by its relative name", disks, top, 2)
    os.rename(folder, disks.stack.path("moved"))
    found("the same, when the whole tree was moved", disks, disks.stack.path("moved/top.vhd"), 2)

    base, child = disks.chain("split", length=2)
    away = os.path.join(disks.folder("split/away"), "child.vhd")
    shutil.move(child, away)
    found("a parent by its absolute name, when the child was moved", disks, away, 2)

    base, child = disks.chain("copied", length=2)
    beside = disks.folder("flat")
    for path in (base, child):
        shutil.move(path, beside)
    os.rename(disks.stack.path("flat/base.vhd"), disks.stack.path("flat/renamed.vhd"))
    disks.make(disks.stack.path("flat/another.vhd"))
    found("a parent of another name beside the child, by its id", disks,
          disks.stack.path("flat/c1.vhd"), 2)


def what_is_said(disks):
    base, child = disks.chain("lost", length=2)
    os.unlink(base)
    vm, _ = refused("a parent that is not there: the child's name, and what to do", disks,
                    [child, "set-parent"], child)
    check("the machine is Off then", "Off" in disks.stack.run("list").stdout.split(vm)[1][:40])

    base, middle, top = disks.chain("changed")
    disks.tool("resize", base, "+1M")
    refused("a parent that was changed: the name of the image above it", disks,
            [middle, "modified", "set-parent"], top)

    base, child = disks.chain("other", length=2)
    os.unlink(base)
    disks.make(base)
    refused("another disk under the parent's name", disks, [child, "different disk"], child)

    base, child = disks.chain("unreadable", length=2)
    os.chmod(base, 0o600)
    if os.geteuid() == 0:
        refused("a parent that mgmtd may not read", disks, [base, "denied", "uid"], child)

    folder = disks.folder("kind")
    os.rename(disks.make(os.path.join(folder, "a.vhdx")), os.path.join(folder, "a.vhd"))
    refused("an image of another format than it says", disks, ["a.vhd"],
            os.path.join(folder, "a.vhd"))

    # The name that the child has for its parent is made to lead to our keys.
    base, child = disks.chain("secret", length=2)
    key = disks.stack.path("state/keys/stolen.vhd")
    shutil.move(base, key)
    os.chmod(key, 0o644)
    os.symlink(key, base)
    refused("a parent among the server's keys", disks, ["keys"], child)


def linked(disks):
    """A disk that is only there to be converted."""
    path = disks.make(os.path.join(disks.folder("linked"), "d.vhd"))
    vm, done = disks.start(path + ",kind=linked")
    check("a machine with a linked disk cannot start, and is told why and what to do",
          done.returncode and "linked" in done.stderr and "convert" in done.stderr
          and path in done.stderr, done.stderr)
    done = disks.stack.run("disk", "convert", path, "linked.vhd", "--daemon")
    check("but the disk can be converted", done.returncode == 0, done.stderr)
    check("the machine is Off", disks.state(vm) == "Off")


def limits(disks):
    """Of a machine that is Off; those of a running one are for the system tests."""
    path = disks.make(os.path.join(disks.folder("limits"), "d.vhd"))
    vm = disks.create(path + ",iops=100,rate=1GiB")
    run = disks.stack.run

    def shown():
        disk = disks.json("show", vm)["disks"][0]
        return disk["iops"], int(disk["bytes_per_s"])

    check("limits are given with the disk", shown() == (100, 1 << 30), shown())
    run("disk", "limit", vm, "0:0", "--rate", "65KiB")
    check("one that is not given stays", shown() == (100, 65 << 10), shown())
    run("disk", "limit", vm, "0:0", "--rate", "none", "--iops", "7")
    text = run("export", vm).stdout
    check("the definition follows", 'iops="7"' in text and "rate=" not in text, text)
    for words in (["0:1", "--iops", "5"], ["0:0"], ["0:0", "--iops", "x"], ["0:0", "--rate", "5"],
                  ["0:0", "--rate", "63KiB"], ["0:0", "--iops", "4294967296"]):
        done = run("disk", "limit", vm, *words)
        check(f"refused: {' '.join(words)}", done.returncode and done.stderr, done.stderr)
    check("and nothing has changed", shown() == (7, 0), shown())


def media(disks):
    """Of a machine that is Off; those of a running one are for the system tests."""
    iso = os.path.join(disks.folder("media"), "a, b.iso")
    with open(iso, "wb") as f:
        f.write(bytes(64 << 10))
    vm = disks.create(",kind=dvd,lun=4", disks.make(os.path.join(disks.folder("media"), "d.vhd")))
    run = disks.stack.run

    def medium():
        return disks.json("show", vm)["disks"][0]["path"]

    check("a drive can be empty", medium() == "" and "empty (raw" in run("show", vm).stdout, medium())
    for place, words in (("0:0", "no CD/DVD drive"), ("0:7", "no disk"), ("0:4", "no medium")):
        done = run("disk", "eject", vm, place)
        check(f"eject refused: {words}", done.returncode and words in done.stderr, done.stderr)
    done = run("disk", "insert", vm, "0:4", iso)
    check("a medium is put in", done.returncode == 0 and medium() == iso, done.stderr)
    done = run("disk", "insert", vm, "0:4", iso)
    check("but not a second one", done.returncode and "eject" in done.stderr, done.stderr)
    done = run("disk", "eject", "--force", vm, "0:4")
    check("and taken out", done.returncode == 0 and medium() == "", done.stderr)
    done = run("disk", "insert", vm, "0:0", iso)
    check("a disk takes no medium", done.returncode and "no CD/DVD drive" in done.stderr, done.stderr)
    done = run("start", vm)
    check("a machine with an empty drive starts", done.returncode == 0, done.stderr)
    check("its storage process is told that it is empty",
          sorted(disks.chain_lengths(vm)[-2:]) == [0, 1], disks.chain_lengths(vm))
    run("off", vm)


def who_uses_what(disks):
    base, left = disks.chain("shared", length=2)
    right = disks.make(disks.stack.path("shared/right.vhd"), base)
    vm, done = disks.start(left)
    check("a machine starts on a child", done.returncode == 0, done.stderr)
    refused("a second one cannot write the child", disks, [left, vm], left)
    refused("nor its parent", disks, [base, vm, "differencing"], base)
    twin, done = disks.start(right)
    check("but it can have a child of its own", done.returncode == 0, done.stderr)
    reader, done = disks.start(base + ",ro")
    check("or read the parent", done.returncode == 0, done.stderr)
    disks.stack.run("off", vm)
    refused("the parent stays in use until the last is off", disks, [base, "in use"], base)
    for name in (twin, reader):
        disks.stack.run("off", name)
    name, done = disks.start(base)
    check("then it can be written", done.returncode == 0, done.stderr)
    refused("and a child of it cannot start meanwhile", disks, [base, name], right)
    disks.stack.run("off", name)
    refused("one image twice in one machine", disks, [left], left, left)
    found("no failed start leaves anything in use", disks, left, 2)


def main():
    stack = Stack()
    try:
        stack.start()
        disks = Disks(stack)
        where_parents_are_found(disks)
        what_is_said(disks)
        linked(disks)
        limits(disks)
        media(disks)
        who_uses_what(disks)
        left = [fd for fd in os.listdir(f"/proc/{stack.mgmtd.pid}/fd")
                if ".vhd" in os.readlink(f"/proc/{stack.mgmtd.pid}/fd/{fd}")]
        check("mgmtd holds no image", not left, left)
        return CHECKS.status(stack)
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
