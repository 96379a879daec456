# SPDX-License-Identifier: Apache-2.0
"""Images and machines with disks, for the tests of mgmtd that use stack.py."""
import hashlib
import json
import os
import re
import subprocess

DISK = os.environ["BULKHEAD_DISK"]
POKE = os.environ.get("POKE")


class Checks:
    """Results as lines of "ok" and "not ok"."""

    def __init__(self):
        self.failed = []

    def check(self, name, good, why=""):
        print(("ok " if good else "not ok ") + name + ("" if good else f": {why}"), flush=True)
        if not good:
            self.failed.append(name)

    def status(self, stack):
        if self.failed:
            with open(stack.path("log"), encoding="utf-8", errors="replace") as f:
                print(f.read()[-4000:])
        return 1 if self.failed else 0


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Disks:
    """Images in a folder of the stack, and machines that use them."""

    def __init__(self, stack):
        self.stack = stack
        self.count = 0

    def folder(self, name):
        path = self.stack.path(name)
        os.makedirs(path, exist_ok=True)
        return path

    def tool(self, *args):
        subprocess.run([DISK, *args], check=True, capture_output=True)

    def make(self, path, parent=None, size="8M"):
        self.tool("create", *(["-p", parent, path] if parent else [path, size]))
        os.chmod(path, 0o666)
        return path

    def chain(self, folder, ending="vhd", length=3):
        """base, c1, c2, ... in a folder of their own."""
        folder = self.folder(folder)
        paths = [self.make(os.path.join(folder, "base." + ending))]
        for i in range(1, length):
            paths.append(self.make(os.path.join(folder, f"c{i}.{ending}"), paths[-1]))
        return paths

    def poke(self, image, mirror, seed):
        """Random writes, to the image and to a plain file."""
        subprocess.run([POKE, image, mirror, str(seed), "40"], check=True, capture_output=True)

    def contents(self, image):
        raw = self.stack.path("contents.raw")
        self.tool("convert", "--force", image, raw)
        return digest(raw)

    def create(self, *disks, options=()):
        self.count += 1
        name = f"vm{self.count}"
        more = [o for d in disks for o in ("--disk", d)]
        made = self.stack.run("create", name, "--kernel", self.stack.path("kernel"), "--memory",
                              "64M", *options, *more)
        assert made.returncode == 0, made.stderr
        return name

    def start(self, *disks):
        """Name of a machine with these disks, and how its start ended."""
        name = self.create(*disks)
        return name, self.stack.run("start", name)

    def state(self, name):
        return self.json("show", name)["state"]

    def json(self, *args):
        return json.loads(self.stack.run("--json", *args).stdout)

    def chain_lengths(self, name):
        """Of each disk, as the storage process is told."""
        out = self.stack.run("console", name, "--timeout", "20", "--until", "hello").stdout
        done = self.stack.run("console", name, "--timeout", "20", "--send", "hi\\n", "--until",
                              "heard")
        return [int(n) for n in re.findall(r"chain (\d+)", out + done.stdout)][-8:]
