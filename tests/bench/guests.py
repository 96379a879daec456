# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel with a busybox shell under bulkhead's software processor and under QEMU's TCG, for
the benches that give both the same commands."""
import subprocess
import time

import common  # noqa: F401  (finds harness)
from harness import PROMPT, READY, Console

MEMORY_MIB = 512


def boot_qemu(stuff, vcpus=1):
    console = Console(subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-m", str(MEMORY_MIB),
         "-smp", str(vcpus), "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
         "-kernel", stuff["kernel"], "-initrd", stuff["initrd"], "-append", "console=ttyS0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    console.wait_for(PROMPT, 300, console.wait_for(READY, 300))
    return console


def boot_ours(stack, stuff, name, vcpus=1):
    stack.create_linux(name, stuff, memory=f"{MEMORY_MIB}MiB", vcpus=vcpus,
                       extra=["--backend", "emu"])
    stack.cli("start", name)
    console = stack.console(name)
    console.wait_for(PROMPT, 300, console.wait_for(READY, 300))
    return console


def timed(f):
    began = time.monotonic()
    f()
    return time.monotonic() - began
