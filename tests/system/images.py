# SPDX-License-Identifier: Apache-2.0
"""Disk images for the guests of the demo and the system tests, and a look at them from outside."""
import json
import os
import shutil
import struct
import subprocess
import tarfile

from harness import READY, Failure, Skip

INIT = f"""#!/bin/sh
export PATH=/bin:/usr/sbin HOME=/root TERM=linux PS1='guest# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmp /tmp
mount -o remount,rw /
hostname -F /etc/hostname
if [ -d /lib/modules ]; then
	modprobe hv_utils
	modprobe hv_balloon pressure_report_delay=0
	for d in kvp vss fcopy; do
		[ -e /dev/vmbus/hv_$d ] && hv_${{d}}_daemon
	done
fi
echo '{READY}'
cd /root
while :; do
	setsid cttyhack sh
done
"""
# What a kernel runs when the host asks it to end (Linux, kernel/reboot.c): poweroff_cmd, reboot_cmd.
END = """#!/bin/sh
for p in /proc/[0-9]*; do
	p=${{p#/proc/}}
	[ $p -gt 1 ] && [ $p != $$ ] && kill -9 $p 2>/dev/null
done
sync
mount -o remount,ro /
/bin/{} -f
"""
FILES = {
    "sbin/init": INIT,
    "sbin/poweroff": END.format("poweroff"),
    "sbin/reboot": END.format("reboot"),
    "etc/hostname": "busybox-guest\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 busybox-guest\n",
    "etc/os-release": "NAME=busybox-root\nVERSION_ID=1\n",
}


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

    def iso(self, name, mib):
        """What a drive takes for a medium: so many MiB of noise."""
        with open(self.path(name), "wb") as f:
            f.write(os.urandom(mib << 20))
        self.share(name)
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

    def root(self, name, busybox, work, guest=None, extra=None):
        """A dynamic VHD with an ext4 file system made of busybox and, of the tar guest, the kernel's
        modules and hyperv-daemons; extra: more files, path in it to path here."""
        tree = os.path.join(work, "tree")
        for folder in ("bin", "dev", "etc", "proc", "sys", "sbin", "root", "tmp", "var/lib"):
            os.makedirs(os.path.join(tree, folder))
        if guest:
            with tarfile.open(guest) as tar:
                tar.extractall(tree, filter="fully_trusted")
        shutil.copy(busybox, os.path.join(tree, "bin/busybox"))
        os.chmod(os.path.join(tree, "bin/busybox"), 0o755)
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True,
                                     check=True).stdout.split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(tree, "bin", applet))
        for file, text in FILES.items():
            with open(os.path.join(tree, file), "w", encoding="ascii") as f:
                f.write(text)
            os.chmod(os.path.join(tree, file), 0o755 if file.startswith("sbin") else 0o644)
        for path, source in (extra or {}).items():
            os.makedirs(os.path.dirname(os.path.join(tree, path)), exist_ok=True)
            shutil.copy(source, os.path.join(tree, path))
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

    def needs_fsck(self, name, work):
        """What the superblock of its ext4 says against mounting it at once; "" if nothing. (Linux,
        Documentation/filesystems/ext4: s_state, whose bit 0 is "cleanly unmounted", and bit 2 of
        s_feature_incompat, "needs journal recovery".)"""
        raw = os.path.join(work, "check.img")
        self.run("convert", "--force", self.path(name), raw)
        with open(raw, "rb") as f:
            f.seek(1024)
            block = f.read(1024)
        magic, state = struct.unpack_from("<HH", block, 56)
        incompat, = struct.unpack_from("<I", block, 96)
        if magic != 0xef53:
            return "there is no ext4"
        wrong = [] if state == 1 else [f"its state is {state}"]
        return ", ".join(wrong + (["its journal is not empty"] if incompat & 4 else []))

    def used(self, name):
        return os.stat(self.path(name)).st_blocks * 512
