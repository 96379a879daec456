/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent reservations from inside a guest, through its kernel's SG_IO.
 *
 *   reserve_guest DEVICE in ACTION             prints what comes back, in hexadecimal
 *   reserve_guest DEVICE out ACTION TYPE KEY SERVICE_KEY [keep]
 *
 * Numbers are hexadecimal; actions and types are SPC-4's; keep: with the APTPL bit. Prints "good", "conflict" (and if the driver
 * took it for an error of the adapter, that) or "sense KEY ASC ASCQ". A unit attention is reported and the command repeated.
 */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { CONFLICT = 0x18, CHECK_CONDITION = 0x02, UNIT_ATTENTION = 6 };

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
	while (bytes--) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

/* True: it is to be repeated. */
static int run(int fd, uint8_t cdb[10], uint8_t *data, unsigned bytes, int direction)
{
	uint8_t sense[32] = {0};
	struct sg_io_hdr io = {.interface_id = 'S',
			       .dxfer_direction = direction,
			       .cmd_len = 10,
			       .mx_sb_len = sizeof(sense),
			       .dxfer_len = bytes,
			       .dxferp = data,
			       .cmdp = cdb,
			       .sbp = sense,
			       .timeout = 60000};

	if (ioctl(fd, SG_IO, &io)) {
		printf("SG_IO: %s\n", strerror(errno));
		exit(1);
	}
	if (io.status == CHECK_CONDITION) {
		printf("sense %x %02x %02x\n", sense[2] & 15, sense[12], sense[13]);
		return (sense[2] & 15) == UNIT_ATTENTION;
	}
	if (io.status == CONFLICT && io.host_status)
		printf("conflict, host status %#x\n", io.host_status);
	else if (io.status == CONFLICT)
		printf("conflict\n");
	else if (io.status)
		printf("status %#x\n", io.status);
	else
		printf("good\n");
	for (unsigned i = 0; !io.status && direction == SG_DXFER_FROM_DEV && i < bytes - io.resid;
	     i++)
		printf("%02x%s", data[i], i % 16 == 15 ? "\n" : " ");
	return 0;
}

int main(int argc, char **argv)
{
	uint8_t cdb[10] = {0}, data[256] = {0};
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_NONBLOCK) : -1;

	if (fd < 0 || argc < 4) {
		fprintf(stderr, "reserve_guest: %s\n", fd < 0 ? strerror(errno) : "arguments");
		return 2;
	}
	cdb[1] = (uint8_t)strtoul(argv[3], NULL, 16);
	if (!strcmp(argv[2], "in")) {
		cdb[0] = 0x5e;
		put(cdb + 7, sizeof(data), 2);
		while (run(fd, cdb, data, sizeof(data), SG_DXFER_FROM_DEV))
			;
		return 0;
	}
	if (argc != 7 && argc != 8)
		return 2;
	data[20] = argc == 8;
	cdb[0] = 0x5f;
	cdb[2] = (uint8_t)strtoul(argv[4], NULL, 16);
	put(cdb + 5, 24, 4);
	put(data, strtoull(argv[5], NULL, 16), 8);
	put(data + 8, strtoull(argv[6], NULL, 16), 8);
	while (run(fd, cdb, data, 24, SG_DXFER_TO_DEV))
		;
	return 0;
}
