/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of access that bulkhead-vsp-storage makes to an image, through the real process (its
 * program is in BULKHEAD_STORAGE), for its policy to be judged by (policy-used).
 */
#include "hosted.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/log.h"
#include "vsp/storage/disk/disk.h"

enum { RAW, VHD, VHDX, DEVICE, DISKS };

static struct hosted *h;
static int fd[DISKS];
static char folder[] = "/tmp/bulkhead-calls.XXXXXX", loop[64];

static void must(bool good, const char *what)
{
	if (!good)
		fatal("storage_calls: %s", what);
}

static void run(unsigned lun, const uint8_t *cdb, unsigned cdb_bytes, unsigned bytes, bool in)
{
	const uint64_t page = 600;
	struct storvsc_io io = {.id = 9, .lun = (uint8_t)lun, .cdb_bytes = (uint8_t)cdb_bytes,
				.from_device = in, .bytes = bytes, .pages = &page, .npages = bytes != 0};
	struct vstor_packet p;

	memcpy(io.cdb, cdb, cdb_bytes);
	must(hosted_command(&h->channel[0], &io, &p), "no answer");
	if (p.srb.scsi_status == 2) /* a unit attention, of the first command */
		must(hosted_command(&h->channel[0], &io, &p), "no answer");
	if (p.srb.srb_status != SRB_SUCCESS)
		log_note("command %#x of %u: status %#x", cdb[0], lun, p.srb.srb_status);
}

static void use(unsigned lun)
{
	static const uint8_t unmap[24] = {0, 22, 0, 16, [15] = 8, [19] = 64};
	uint8_t *data = hosted_page(h, 600);

	memset(data, 0x5a, 4096);
	run(lun, (uint8_t[10]){0x2a, [5] = 8, [8] = 8}, 10, 4096, false);
	run(lun, (uint8_t[10]){0x2a, 8, [4] = 0x10, [8] = 8}, 10, 4096, false); /* FUA */
	run(lun, (uint8_t[10]){0x35}, 10, 0, false);
	posix_fadvise(fd[lun], 0, 0, POSIX_FADV_DONTNEED); /* reads that have to wait */
	run(lun, (uint8_t[10]){0x28, [5] = 8, [8] = 8}, 10, 4096, true);
	run(lun, (uint8_t[10]){0x28, [4] = 0x0f, [5] = 0xfc, [8] = 8}, 10, 4096, true); /* of two blocks */
	memset(data, 0, 4096);
	run(lun, (uint8_t[16]){0x93, 0, [9] = 64, [13] = 64}, 16, 512, false);
	run(lun, (uint8_t[16]){0x93, 8, [9] = 64, [13] = 64}, 16, 512, false);
	memcpy(data, unmap, sizeof(unmap));
	run(lun, (uint8_t[10]){0x42, [8] = 24}, 10, 24, false);
}

static int image(unsigned i)
{
	/* So large that the tables make the heap grow; they are sparse. */
	struct disk_create how = {.format = i == VHD ? DISK_FORMAT_VHD : DISK_FORMAT_VHDX,
				  .type = DISK_TYPE_DYNAMIC, .size = 1000ull << 30};
	char path[96];
	int f;

	snprintf(path, sizeof(path), "%s/%u", folder, i);
	f = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(f >= 0 && (i == VHD || i == VHDX ? !disk_create(f, &how, NULL) : !ftruncate(f, 64 << 20)),
	     path);
	return f;
}

/* False: this host has none for us. */
static bool device(int *at)
{
	char command[160];
	FILE *f;

	snprintf(command, sizeof(command), "losetup --find --show %s/%d 2>/dev/null", folder, DEVICE);
	f = popen(command, "re");
	if (!f || !fgets(loop, sizeof(loop), f))
		loop[0] = 0;
	if (f)
		pclose(f);
	loop[strcspn(loop, "\n")] = 0;
	*at = loop[0] ? open(loop, O_RDWR | O_CLOEXEC) : -1;
	return *at >= 0;
}

int main(void)
{
	static struct vm_disk disk[DISKS];
	int status;
	unsigned n = DISKS;
	char command[160];

	must(mkdtemp(folder) != NULL, folder);
	for (unsigned i = 0; i < DISKS; i++) {
		fd[i] = image(i);
		disk[i] = (struct vm_disk){.lun = (uint8_t)i, .chain = 1,
					   .format = i == VHD    ? VM_FORMAT_VHD
						     : i == VHDX ? VM_FORMAT_VHDX
								 : VM_FORMAT_RAW,
					   .low_space = i == VHD};
	}
	if (!device(&fd[DEVICE]))
		n--;
	h = hosted_start_process(disk, fd, n, 2);
	must(hosted_open(h, &h->channel[0]) && hosted_handshake(&h->channel[0]), "no channel");
	for (unsigned i = 0; i < n; i++)
		use(i);
	h->resize_bytes = 128 << 20;
	must(!hosted_disk(h, DISK_RESIZE, &disk[RAW], NULL), "resize");
	hosted_close(h, &h->channel[0]);
	must(!hosted_disk(h, DISK_REMOVE, &disk[VHD], NULL), "remove");
	close(h->unit);
	for (unsigned t = 0; t < 1000 && !kill(h->process, 0) && waitpid(h->process, &status, WNOHANG) == 0; t++)
		usleep(10000);
	snprintf(command, sizeof(command), "%s%s; rm -r %s", loop[0] ? "losetup -d " : "true", loop, folder);
	return system(command) != 0;
}
