#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`bulkhead disk ... --daemon`: operations on images as jobs, with real job processes behind a fake
broker."""
import os
import signal
import subprocess
import sys

from disks import Checks, Disks, digest
from stack import BULKHEAD, Stack

CHECKS = Checks()
check = CHECKS.check


def disk(stack, *args):
    return stack.run("disk", *args, "--daemon")


def managed(stack, name):
    return stack.path("state/disks/" + name)


def operations(disks):
    stack = disks.stack
    done = disk(stack, "create", "a.vhd", "8M")
    check("create makes a managed disk", done.returncode == 0 and
          os.path.exists(managed(stack, "a.vhd")), done.stderr)
    done = disk(stack, "create", "a.vhd", "8M")
    check("but does not replace one", done.returncode == 6 and "exists" in done.stderr, done.stderr)
    done = disk(stack, "create", "--force", "a.vhd", "16M")
    check("unless it is told to", done.returncode == 0 and "16777216" in done.stdout, done.stderr)
    done = disk(stack, "create", "-p", "a.vhd", "b.vhd")
    check("a child of a managed disk", done.returncode == 0, done.stderr)
    mirror = stack.path("mirror")
    disks.poke(managed(stack, "b.vhd"), mirror, 7)
    done = disk(stack, "convert", "b.vhd", "c.vhdx")
    check("convert copies the chain into another format",
          done.returncode == 0 and disks.contents(managed(stack, "c.vhdx")) == digest(mirror),
          done.stderr)
    done = disk(stack, "convert", mirror, "d.vhd", "-t", "fixed")
    check("and an image from elsewhere",
          done.returncode == 0 and disks.contents(managed(stack, "d.vhd")) == digest(mirror),
          done.stderr)
    done = disk(stack, "compact", "c.vhdx")
    check("compact says what it has done", done.returncode == 0 and "was" in done.stdout, done)
    done = disk(stack, "merge", "b.vhd")
    check("merge puts the child into its parent, and removes it",
          done.returncode == 0 and not os.path.exists(managed(stack, "b.vhd"))
          and disks.contents(managed(stack, "a.vhd")) == digest(mirror), done.stderr)
    done = disk(stack, "resize", "a.vhd", "+8M")
    check("resize", done.returncode == 0 and str(24 << 20) in done.stdout, done)
    done = disk(stack, "check", "a.vhd")
    check("check finds nothing wrong", done.returncode == 0 and "clean" in done.stdout, done)
    with open(managed(stack, "a.vhd"), "r+b") as f:
        f.seek(-512, 2)
        f.write(bytes(512))
    done = disk(stack, "check", "a.vhd")
    check("check says what is wrong", "footer" in done.stdout and "repair" in done.stdout, done)
    done = disk(stack, "check", "--repair", "a.vhd")
    check("and mends it", "repaired" in done.stdout, done)
    done = disk(stack, "check", "a.vhd")
    check("so that nothing is wrong", "clean" in done.stdout, done)


def other_parents(disks):
    """x (8 MiB) has the child y. z is a copy of x with other contents at some places."""
    stack = disks.stack
    x, y, z = (managed(stack, f"{n}.vhd") for n in "xyz")
    mirror = stack.path("mirror-y")
    disk(stack, "create", "x.vhd", "8M")
    disks.poke(x, stack.path("mirror-x"), 11)
    disk(stack, "create", "-p", "x.vhd", "y.vhd")
    disks.poke(y, mirror, 12)
    before = disks.contents(y)
    disk(stack, "convert", "x.vhd", "z.vhd")
    disks.poke(z, stack.path("mirror-z"), 13)
    done = disk(stack, "set-parent", "y.vhd", "y.vhd")
    check("an image is not its own parent", done.returncode and "in use" in done.stderr, done.stderr)
    done = disk(stack, "set-parent", "x.vhd", "z.vhd")
    check("a disk that is not differencing gets no parent", done.returncode and
          "differencing" in done.stderr, done.stderr)
    done = disk(stack, "rebase", "y.vhd", "nowhere.vhd")
    check("the new parent must be there", done.returncode == 5 and "nowhere.vhd" in done.stderr,
          done.stderr)
    done = disk(stack, "set-parent", "x.vhd", "y.vhd")
    check("a parent cannot become the child of its child", done.returncode and disks.contents(y) == before,
          done.stderr)
    done = disk(stack, "rebase", "y.vhd", "z.vhd")
    check("rebase: another parent", done.returncode == 0 and "z.vhd" in done.stdout, done.stderr)
    os.unlink(x)
    check("and the same contents, without the old one", disks.contents(y) == before)
    # Through a grandparent: the new parent is differencing itself.
    disk(stack, "create", "-p", "z.vhd", "w.vhd")
    disks.poke(managed(stack, "w.vhd"), stack.path("mirror-w"), 14)
    done = disk(stack, "rebase", "y.vhd", "w.vhd")
    check("also onto a parent that has one", done.returncode == 0 and disks.contents(y) == before,
          done.stderr)
    # z has gone elsewhere, under another name.
    moved = os.path.join(disks.folder("moved"), "z2.vhd")
    os.rename(z, moved)
    done = disk(stack, "set-parent", "y.vhd", "w.vhd")
    check("the new parent's own parents are looked for, and what is missing is said",
          done.returncode and "z.vhd" in done.stderr and "w.vhd" in done.stderr, done.stderr)
    done = disk(stack, "set-parent", "w.vhd", moved)
    check("set-parent: that one finds its parent again", done.returncode == 0, done.stderr)
    done = disk(stack, "set-parent", "y.vhd", "w.vhd")
    check("and the child its own", done.returncode == 0 and disks.contents(y) == before, done.stderr)


def loop_device(path):
    """None: this host has no loop devices for us."""
    done = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or None


def imports(disks):
    stack = disks.stack
    path = disks.make(os.path.join(disks.folder("physical"), "inside.vhd"))
    done = disk(stack, "import", path, "whole.vhd")
    check("what is imported is taken as it is, also if it looks like an image",
          done.returncode == 0 and str(os.path.getsize(path)) in done.stdout, done)
    done = disk(stack, "import", "--snapshot", path, "x.vhd")
    check("a snapshot is not the server's to make", done.returncode == 2 and "lvcreate" in done.stderr,
          done.stderr)
    device = loop_device(stack.path("mirror"))
    if not device:
        print("SKIP: no loop device: a device that is in use was not imported")
        return
    mode = os.stat(device).st_mode & 0o7777
    os.chmod(device, 0o666)             # the daemon is not root
    try:
        fd = os.open(device, os.O_RDONLY | os.O_EXCL)
        done = disk(stack, "import", device, "l.vhd")
        check("a device in use is refused, and what helps is said",
              done.returncode == 6 and "--live" in done.stderr, done.stderr)
        done = disk(stack, "import", "--live", device, "l.vhd")
        check("unless it is wanted as it changes", done.returncode == 0 and
              disks.contents(managed(stack, "l.vhd")) == digest(stack.path("mirror")), done.stderr)
        os.close(fd)
        done = disk(stack, "import", device, "m.vhdx")
        check("one that is not in use is imported",
              done.returncode == 0 and
              disks.contents(managed(stack, "m.vhdx")) == digest(stack.path("mirror")), done.stderr)
    finally:
        os.chmod(device, mode)
        subprocess.run(["losetup", "-d", device], check=False)


def refusals(disks):
    stack = disks.stack
    for name in ("../x.vhd", "/tmp/x.vhd", ".hidden.vhd", "a/b.vhd"):
        done = disk(stack, "create", name, "8M")
        check(f"{name} is no managed disk's name", done.returncode and not os.path.exists("/tmp/x.vhd")
              and "name" in done.stderr, done.stderr)
    done = disk(stack, "compact", "nothing.vhd")
    check("an image that is not there", done.returncode == 5 and "nothing.vhd" in done.stderr,
          done.stderr)
    done = disk(stack, "compact", stack.path("state/keys/server.key"))
    check("a key is no image", done.returncode and "keys" in done.stderr, done.stderr)
    done = disk(stack, "create", "odd.vhd", "1000")
    check("a size that is none: why, and nothing is left", done.returncode
          and "sectors" in done.stderr and os.listdir(stack.path("state/disks")).count("odd.vhd") == 0
          and not [f for f in os.listdir(stack.path("state/disks")) if f.startswith(".job")],
          done.stderr)
    path = disks.make(os.path.join(disks.folder("used"), "d.vhd"))
    name, _ = disks.start(path)
    for args in (("compact",), ("resize",), ("check", "--repair")):
        more = ["+1M"] if args[0] == "resize" else []
        done = disk(stack, args[0], path, *more, *args[1:])
        check(f"{args[0]} of an image in use by a machine is refused, and by whom is said",
              done.returncode == 6 and name in done.stderr, done.stderr)
    done = disk(stack, "convert", path, "copy.vhd")
    check("nor can it be copied while it changes", done.returncode and name in done.stderr,
          done.stderr)
    stack.run("off", name)
    done = disk(stack, "compact", path)
    check("afterwards it can", done.returncode == 0, done.stderr)


def big(stack):
    """An image that takes a while: random, so that nothing of it is zero."""
    path = stack.path("big.raw")
    with open(path, "wb") as f:
        for _ in range(600):
            f.write(os.urandom(1 << 20))
    os.chmod(path, 0o666)
    return path


def stopped_job(stack, disks, source, name):
    """Number and process of a copying job that is stopped in the middle. It may have been faster than
    we: then the next one is tried, under another name."""
    for attempt in range(10):
        target = f"{attempt}-{name}"
        done = stack.run("disk", "convert", source, target, "--daemon", "--no-wait")
        assert done.returncode == 0, done.stderr
        ident = int(done.stdout.split()[1])
        try:
            pid = process_of(stack)
            os.kill(pid, signal.SIGSTOP)
        except (IndexError, ProcessLookupError):
            continue
        if job(disks, ident)["state"] == "running":
            return ident, pid
        os.kill(pid, signal.SIGCONT)
    raise AssertionError("each job was over at once")


def left_behind(stack, name):
    """Names of outputs that are not whole."""
    return [f for f in os.listdir(stack.path("state/disks"))
            if f.startswith(".job") or (f.endswith(name) and os.path.getsize(managed(stack, f)) == 0)]


def job(disks, ident):
    """Members that are zero are left out of JSON."""
    return [j for j in disks.json("jobs")["jobs"] if int(j["id"]) == ident][0]


def process_of(stack):
    """The job process: a child of the fake broker."""
    found = subprocess.run(["pgrep", "-P", str(stack.broker.pid)], capture_output=True, text=True,
                           check=False).stdout.split()
    return int(found[-1])


def ended(stack, disks, ident):
    stack.wait_for(lambda: job(disks, ident)["state"] != "running")
    return job(disks, ident)


def long_jobs(disks):
    stack = disks.stack
    path = big(stack)
    ident, pid = stopped_job(stack, disks, path, "one.vhd")
    stack.run("jobs", "cancel", str(ident))
    os.kill(pid, signal.SIGCONT)
    end = ended(stack, disks, ident)
    check("a job can be cancelled", end["state"] == "cancelled", end)
    check("and leaves nothing behind", not os.path.exists(end["image"])
          and not left_behind(stack, "one.vhd"))
    ident, pid = stopped_job(stack, disks, path, "two.vhd")
    done = disk(stack, "compact", path)
    check("while it runs, its image is in use by the job",
          done.returncode == 6 and f"job {ident}" in done.stderr, done.stderr)
    os.kill(pid, signal.SIGKILL)
    end = ended(stack, disks, ident)
    check("a job whose process is killed has failed, and why is said",
          end["state"] == "failed" and "signal 9" in end["error"]["what"], end)
    check("and leaves nothing behind, too", not os.path.exists(end["image"])
          and not left_behind(stack, "two.vhd"))
    with subprocess.Popen([BULKHEAD, "disk", "convert", path, "three.vhd", "--daemon"],
                          env=stack.environment(), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as client:
        stack.wait_for(lambda: any("three.vhd" in j["image"] for j in disks.json("jobs")["jobs"]))
        client.kill()
    stack.wait_for(lambda: os.path.exists(managed(stack, "three.vhd")), 120)
    check("a job outlives the client that asked for it",
          disks.contents(managed(stack, "three.vhd")) == digest(path))
    stopped_job(stack, disks, path, "four.vhd")
    stack.mgmtd.kill()
    stack.mgmtd.wait()
    os.unlink(stack.path("run/api"))
    stack.start()
    check("a daemon that was killed leaves nothing that the next one does not remove",
          not left_behind(stack, "four.vhd"))
    os.unlink(path)


def backup_of(stack, disks, folder):
    """As "bulkhead backup" leaves it: of two disks, the second of which takes a while."""
    source = disks.create(*(disks.make(os.path.join(disks.folder("source"), n)) for n in ("s.vhd", "l.vhd")))
    os.makedirs(folder)
    small, large = (os.path.join(folder, f"disk-0-{i}.vhd") for i in range(2))
    os.rename(stack.path("source/s.vhd"), small)
    disks.tool("convert", big(stack), large)
    with open(os.path.join(folder, "machine.vmc"), "w", encoding="utf-8") as f:
        f.write(stack.run("export", source).stdout)
    with open(os.path.join(folder, "disks"), "w", encoding="utf-8") as f:
        for path in small, large:
            f.write(f"{os.path.basename(path)} {os.path.getsize(path)}\n")
    for path in [folder] + [os.path.join(folder, n) for n in os.listdir(folder)]:
        os.chmod(path, 0o755)
    stack.run("delete", source)


def restore_killed(disks):
    """The daemon dies when the first disk has been copied, and the second has not."""
    stack = disks.stack
    backup_of(stack, disks, stack.path("state/backups/old/one"))
    own = managed(stack, "new-0-1.vhd")         # not the restore's, which is refused for it
    disks.make(own)
    done = stack.run("restore", "old/one", "--name", "new")
    check("a restore does not replace a disk of that name", done.returncode == 6 and os.path.exists(own)
          and not os.path.exists(managed(stack, "new-0-0.vhd")), done.stderr)
    os.unlink(own)
    with subprocess.Popen([BULKHEAD, "restore", "old/one", "--name", "new"],
                          env=stack.environment(), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as client:
        stack.wait_for(lambda: os.path.exists(managed(stack, "new-0-0.vhd")))
        stack.mgmtd.kill()
        stack.mgmtd.wait()
        client.kill()
    os.unlink(stack.path("run/api"))
    stack.start()
    left = [f for f in os.listdir(stack.path("state/disks")) if "new" in f or f.startswith(".")]
    check("a daemon that is killed in a restore leaves nothing that the next one does not remove",
          not left and "new" not in stack.run("list").stdout, left)
    done = stack.run("restore", "old/one", "--name", "new")
    left = [f for f in os.listdir(stack.path("state/disks")) if f.startswith(".")]
    check("and the same restore then works", done.returncode == 0 and
          os.path.exists(managed(stack, "new-0-1.vhd")) and not left, (done.stderr, left))
    stack.mgmtd.kill()
    stack.mgmtd.wait()
    os.unlink(stack.path("run/api"))
    stack.start()
    check("its disks stay", os.path.exists(managed(stack, "new-0-0.vhd")))


def merge_killed(disks):
    """The child and the parent are as before, or further; merging again ends it."""
    stack = disks.stack
    disk(stack, "create", "p.vhd", "256M")
    disk(stack, "create", "-p", "p.vhd", "q.vhd")
    mirror = stack.path("m2")
    disks.poke(managed(stack, "q.vhd"), mirror, 3)
    done = stack.run("disk", "merge", "q.vhd", "--daemon", "--no-wait")
    ident = int(done.stdout.split()[1])
    try:
        os.kill(process_of(stack), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        pass                            # it was faster
    stack.wait_for(lambda: job(disks, ident)["state"] != "running")
    left = "q.vhd" if os.path.exists(managed(stack, "q.vhd")) else "p.vhd"
    check("a merge whose process is killed loses nothing",
          disks.contents(managed(stack, left)) == digest(mirror), left)
    if left == "q.vhd":
        disk(stack, "merge", "q.vhd")
    check("and can be done again", disks.contents(managed(stack, "p.vhd")) == digest(mirror))


def main():
    stack = Stack()
    try:
        stack.start()
        disks = Disks(stack)
        for test in (operations, other_parents, imports, refusals, long_jobs, restore_killed, merge_killed):
            test(disks)
        return CHECKS.status(stack)
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
