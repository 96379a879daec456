# SPDX-License-Identifier: Apache-2.0
"""fio in a whole Debian guest: bulkhead's software processor and storvsp beside QEMU's TCG and
virtio-blk, on a raw disk of the same size. The two guests take turns; one that waits costs nothing."""
import json
import os
import re
import subprocess

from common import interleave, row
from harness import Console, Failure, Stack, debian
from images import Images

RUNS = 3
MEMORY_MIB = 768
DISK_MIB = 256
CMDLINE = "console=ttyS0 root=LABEL=root rw"
# Row, fio's options, what is counted.
ROWS = [
    ("4 KiB read, depth 1", "--rw=randread --bs=4k --iodepth=1", "iops"),
    ("4 KiB write, depth 1", "--rw=randwrite --bs=4k --iodepth=1", "iops"),
    ("4 KiB read, depth 32", "--rw=randread --bs=4k --iodepth=32", "iops"),
    ("4 KiB write, depth 32", "--rw=randwrite --bs=4k --iodepth=32", "iops"),
    ("256 KiB read, depth 4", "--rw=read --bs=256k --iodepth=4", "MiB/s"),
    ("256 KiB write, depth 4", "--rw=write --bs=256k --iodepth=4", "MiB/s"),
]
FIO = ("fio --name=x --filename=/dev/{} --direct=1 --ioengine=libaio --runtime=4 --time_based "
       "--output-format=json --output=/tmp/fio.json {}; cat /tmp/fio.json")


def fio(console, options, unit):
    """What fio reached."""
    disk = re.search(rf"^(\w+) {DISK_MIB << 20} disk", console.run("lsblk -dbnro NAME,SIZE,TYPE")[1],
                     re.M).group(1)
    status, out = console.run(FIO.format(disk, options), 120)
    if status:
        raise Failure(f"fio in the guest: {out.strip()[-500:]}")
    job = json.loads(out[out.index("{"):out.rindex("}") + 1])["jobs"][0]
    done = job["write" if "write" in options else "read"]
    return done["iops"] if unit == "iops" else done["bw_bytes"] / (1 << 20)


def boot(console):
    console.wait_for("login:", 600)
    console.login()
    return console


def ours(stack, stuff):
    images = Images(stack.build, stack.files)
    disks = ["--disk", images.vhd("root.vhd", stuff["image"]),
             "--disk", images.preallocated("data.img", DISK_MIB) + ",controller=1"]
    stack.create_linux("fio", stuff, memory=f"{MEMORY_MIB}MiB", cmdline=CMDLINE,
                       extra=["--backend", "emu", *disks])
    stack.cli("start", "fio")
    return boot(stack.console("fio"))


def qemu(stack, stuff):
    root = os.path.join(stack.dir, "qemu-root.img")
    subprocess.run(["cp", "--sparse=always", stuff["image"], root], check=True)
    data = Images(stack.build, stack.files).preallocated("qemu-data.img", DISK_MIB)
    command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-m", str(MEMORY_MIB),
               "-smp", "1", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
               "-kernel", stuff["kernel"], "-initrd", stuff["initrd"], "-append", CMDLINE]
    for path in (root, data):
        command += ["-drive", f"file={path},format=raw,if=virtio"]
    return boot(Console(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL)))


def bench(build):
    """Appends the rows."""
    stuff = debian(build)
    with Stack(build) as stack:
        consoles = []
        try:
            consoles.append(ours(stack, stuff))
            consoles.append(qemu(stack, stuff))
            for name, options, unit in ROWS:
                values = interleave(RUNS, *(lambda c=c: fio(c, options, unit) for c in consoles))
                row(build, "storage", f"in a guest: {name}", values[0], "qemu tcg virtio-blk",
                    values[1], unit, True)
        finally:
            for console in consoles:
                console.close()
