#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of work that bulkhead-disk-job has, one after the other, for its policy to be judged by
(policy-used). What it prints is not looked at; it ends with status 1 if something did not work."""
import os
import sys

from disks import Disks
from stack import Stack
from test_disk_jobs import CHECKS, big, disk, imports, managed, operations, other_parents


def large(stack):
    """So much that the device is told to begin, room that is reserved, and tables that grow."""
    path = big(stack)
    for name, more in (("raw.vhd", ()), ("raw.vhdx", ("-t", "fixed"))):
        done = disk(stack, "convert", path, name, *more)
        CHECKS.check(f"convert to {name}", done.returncode == 0, done.stderr)
        os.unlink(managed(stack, name))
    os.unlink(path)
    for name, size, more in (("f.vhd", "8M", ("-t", "fixed", "--preallocate")), ("g.vhd", "200G", ()), ("g.vhdx", "2T", ())):
        done = disk(stack, "create", name, size, *more)
        CHECKS.check(f"create {name}", done.returncode == 0, done.stderr)
    for name in ("g.vhd", "g.vhdx"):
        for _ in range(2):
            done = disk(stack, "resize", name, "+400G")
            CHECKS.check(f"resize {name}", done.returncode == 0, done.stderr)


def main():
    stack = Stack()
    try:
        stack.start()
        disks = Disks(stack)
        for work in (operations, other_parents, imports):
            work(disks)
        large(stack)
        return CHECKS.status(stack)
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
