# SPDX-License-Identifier: Apache-2.0
"""Disk images for the guests of the demo and the system tests, and a look at them from outside."""
import json
import os
import shutil
import subprocess

from harness import READY, Failure, Skip

INIT = f"""#!/bin/sh
export PATH=/bin HOME=/root TERM=linux PS1='guest# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmp /tmp
mount -o remount,rw /
echo '{READY}'
cd /root
while :; do
	setsid cttyhack sh
done
"""


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not path:
        raise Skip(f"there is no {name} on this host")
    return path


class Images:
    """Disk images below the folder that mgmtd's user may use."""

    def __init__(self, build, folder):
        self.program = os.path.join(os.path.abspath(build),
                                    "vsp/storage/disk/cmd/bulkhead-disk")
        self.folder = folder

    def run(self, *args):
        done = subprocess.run([self.program, *args], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"bulkhead disk {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def path(self, name):
        return os.path.join(self.folder, name)

    def share(self, name):
        """Anybody may write it: the daemon's user is another than ours."""
        os.chmod(self.path(name), 0o666)
        return self.path(name)

    def empty(self, name, size):
        self.run("create", self.path(name), size)
        return self.share(name)

    def preallocated(self, name, mib):
        """A raw image whose blocks are all there, and not zero."""
        with open(self.path(name), "wb") as f:
            for _ in range(mib):
                f.write(os.urandom(1 << 20))
        return self.share(name)

    def vhd(self, name, raw):
        """A dynamic VHD with what a raw image holds."""
        self.run("convert", raw, self.path(name))
        return self.share(name)

    def root(self, name, busybox, work):
        """A dynamic VHD with an ext4 file system made of busybox."""
        tree = os.path.join(work, "tree")
        for folder in ("bin", "dev", "proc", "sys", "sbin", "root", "tmp"):
            os.makedirs(os.path.join(tree, folder))
        shutil.copy(busybox, os.path.join(tree, "bin/busybox"))
        os.chmod(os.path.join(tree, "bin/busybox"), 0o755)
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True,
                                     check=True).stdout.split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(tree, "bin", applet))
        with open(os.path.join(tree, "sbin/init"), "w", encoding="ascii") as f:
            f.write(INIT)
        os.chmod(os.path.join(tree, "sbin/init"), 0o755)
        raw = os.path.join(work, "root.img")
        subprocess.run([tool("mke2fs"), "-q", "-t", "ext4", "-L", "root", "-d", tree, raw, "128M"],
                       check=True, capture_output=True)
        return self.vhd(name, raw)

    def clean(self, name):
        """What a look from outside finds wrong with the image; "" if nothing."""
        done = subprocess.run([self.program, "check", self.path(name)], capture_output=True,
                              text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def damage(self, name):
        """What a look from outside finds that can cost data; "" if nothing."""
        done = subprocess.run([self.program, "check", "--json", self.path(name)],
                              capture_output=True, text=True, check=False)
        found = json.loads(done.stdout or "[]")
        good = len(found) == 1 and found[0]["readable"] and not found[0]["errors"]
        return "" if good else done.stdout + done.stderr

    def fsck(self, name, work, recover):
        """The same for its file system, after replaying the journal if recover."""
        raw = os.path.join(work, "check.img")
        self.run("convert", "--force", self.path(name), raw)
        if recover:
            subprocess.run([tool("e2fsck"), "-E", "journal_only", "-y", raw], capture_output=True,
                           check=False)
        done = subprocess.run([tool("e2fsck"), "-fn", raw], capture_output=True, text=True,
                              check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def used(self, name):
        return os.stat(self.path(name)).st_blocks * 512
