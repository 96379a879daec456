/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small NBD server: fixed newstyle negotiation, simple replies, one client a thread. Source: the
 * protocol document of the NetworkBlockDevice project (doc/proto.md).
 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REQUEST (32u << 20)
#define MAX_OPTION  4096u

enum {
	FLAG_FIXED_NEWSTYLE = 1,
	FLAG_NO_ZEROES = 2,
	OPT_EXPORT_NAME = 1,
	OPT_ABORT = 2,
	OPT_LIST = 3,
	OPT_INFO = 6,
	OPT_GO = 7,
	REP_ACK = 1,
	REP_SERVER = 2,
	REP_INFO = 3,
	INFO_EXPORT = 0,
	INFO_BLOCK_SIZE = 3,
	SEND_FLUSH = 1 << 2,
	SEND_FUA = 1 << 3,
	SEND_TRIM = 1 << 5,
	SEND_WRITE_ZEROES = 1 << 6,
	CAN_MULTI_CONN = 1 << 8,
	CMD_READ = 0,
	CMD_WRITE = 1,
	CMD_DISC = 2,
	CMD_FLUSH = 3,
	CMD_TRIM = 4,
	CMD_WRITE_ZEROES = 6,
	CMD_FLAG_FUA = 1,
};
#define REP_ERR_UNSUP   (1u << 31 | 1)
#define REP_ERR_INVALID (1u << 31 | 3)
#define REP_MAGIC       0x3e889045565a9ull
#define OPT_MAGIC       0x49484156454f5054ull /* "IHAVEOPT" */
#define REQUEST_MAGIC   0x25609513u
#define REPLY_MAGIC     0x67446698u

struct request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t handle, offset;
	uint32_t length;
} __attribute__((packed));
_Static_assert(sizeof(struct request) == 28, "NBD request is 28 bytes");

struct reply {
	uint32_t magic, error;
	uint64_t handle;
} __attribute__((packed));
_Static_assert(sizeof(struct reply) == 16, "NBD reply is 16 bytes");

static int get(int fd, void *buf, size_t length)
{
	char *p = buf;

	while (length) {
		ssize_t n = recv(fd, p, length, 0);

		if (n < 0 && errno == EINTR && !interrupted())
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

static int put(int fd, const void *buf, size_t length)
{
	const char *p = buf;

	while (length) {
		ssize_t n = send(fd, p, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR && !interrupted())
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

static uint16_t export_flags(const struct nbd_export *e)
{
	return (uint16_t)(1 |
			  (e->read_only ? 2
					: SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES) |
			  CAN_MULTI_CONN);
}

static int option_reply(int fd, uint32_t option, uint32_t type, const void *data, uint32_t length)
{
	struct {
		uint64_t magic;
		uint32_t option, type, length;
	} __attribute__((packed))
	r = {htobe64(REP_MAGIC), htobe32(option), htobe32(type), htobe32(length)};
	int err = put(fd, &r, sizeof(r));

	return err || !length ? err : put(fd, data, length);
}

/* OPT_INFO and OPT_GO: any export name is ours. */
static int send_info(int fd, uint32_t option, const struct nbd_export *e)
{
	struct {
		uint16_t type;
		uint64_t size;
		uint16_t flags;
	} __attribute__((packed))
	info = {htobe16(INFO_EXPORT), htobe64(disk_size(e->disk)), htobe16(export_flags(e))};
	struct {
		uint16_t type;
		uint32_t minimum, preferred, maximum;
	} __attribute__((packed))
	sizes = {htobe16(INFO_BLOCK_SIZE), htobe32(disk_sector_size(e->disk)), htobe32(4096),
		 htobe32(MAX_REQUEST)};
	int err = option_reply(fd, option, REP_INFO, &info, sizeof(info));

	if (!err)
		err = option_reply(fd, option, REP_INFO, &sizes, sizeof(sizes));
	return err ? err : option_reply(fd, option, REP_ACK, NULL, 0);
}

static int old_export(int fd, const struct nbd_export *e, bool zeroes)
{
	struct {
		uint64_t size;
		uint16_t flags;
		uint8_t zeroes[124];
	} __attribute__((packed)) r = {htobe64(disk_size(e->disk)), htobe16(export_flags(e)), {0}};

	return put(fd, &r, zeroes ? sizeof(r) : 10);
}

/* 1: go on to transmission; 0: next option. */
static int one_option(int fd, const struct nbd_export *e, bool zeroes)
{
	struct {
		uint64_t magic;
		uint32_t option, length;
	} __attribute__((packed)) o;
	char data[MAX_OPTION];
	uint32_t option;
	int err = get(fd, &o, sizeof(o));

	if (!err && (be64toh(o.magic) != OPT_MAGIC || be32toh(o.length) > sizeof(data)))
		err = -EPROTO;
	if (!err)
		err = get(fd, data, be32toh(o.length));
	if (err)
		return err;
	option = be32toh(o.option);
	switch (option) {
	case OPT_EXPORT_NAME:
		err = old_export(fd, e, zeroes);
		return err ? err : 1;
	case OPT_ABORT:
		option_reply(fd, option, REP_ACK, NULL, 0);
		return -ECONNRESET;
	case OPT_LIST:
		err = option_reply(fd, option, REP_SERVER, "\0\0\0\0", 4);
		return err ? err : option_reply(fd, option, REP_ACK, NULL, 0);
	case OPT_INFO:
	case OPT_GO:
		if (be32toh(o.length) < 6)
			return option_reply(fd, option, REP_ERR_INVALID, NULL, 0);
		err = send_info(fd, option, e);
		return err ? err : option == OPT_GO;
	default:
		return option_reply(fd, option, REP_ERR_UNSUP, NULL, 0);
	}
}

static int negotiate(int fd, const struct nbd_export *e)
{
	struct {
		char magic[8];
		uint64_t opt;
		uint16_t flags;
	} __attribute__((packed))
	hello = {"NBDMAGIC", htobe64(OPT_MAGIC), htobe16(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)};
	uint32_t flags;
	int err = put(fd, &hello, sizeof(hello));

	if (!err)
		err = get(fd, &flags, 4);
	for (int n = 0; !err && n < 64; n++)
		err = one_option(fd, e, !(be32toh(flags) & FLAG_NO_ZEROES));
	return err == 1 ? 0 : err ? err : -EPROTO;
}

static uint32_t nbd_errno(int err)
{
	switch (-err) {
	case 0:
		return 0;
	case EPERM:
	case EROFS:
		return 1;
	case ENOMEM:
		return 12;
	case EINVAL:
		return 22;
	case ENOSPC:
		return 28;
	default:
		return 5;
	}
}

static int perform(const struct nbd_export *e, const struct request *q, char *buf)
{
	uint64_t offset = be64toh(q->offset);
	uint32_t length = be32toh(q->length);
	unsigned type = be16toh(q->type);
	int err;

	if (e->read_only && type != CMD_READ && type != CMD_FLUSH)
		return -EPERM;
	switch (type) {
	case CMD_READ:
		return disk_read(e->disk, buf, length, offset);
	case CMD_WRITE:
		err = disk_write(e->disk, buf, length, offset);
		break;
	case CMD_FLUSH:
		return disk_flush(e->disk);
	case CMD_TRIM:
		err = disk_discard(e->disk, offset, length);
		break;
	case CMD_WRITE_ZEROES:
		err = disk_write_zeroes(e->disk, offset, length);
		break;
	default:
		return -EINVAL;
	}
	return err || !(be16toh(q->flags) & CMD_FLAG_FUA) ? err : disk_flush(e->disk);
}

static int one_request(int fd, const struct nbd_export *e, char *buf)
{
	struct reply r = {htobe32(REPLY_MAGIC), 0, 0};
	struct request q;
	uint32_t length;
	bool moves;
	int err = get(fd, &q, sizeof(q));

	if (err)
		return err;
	if (be32toh(q.magic) != REQUEST_MAGIC)
		return -EPROTO;
	length = be32toh(q.length);
	moves = be16toh(q.type) == CMD_READ || be16toh(q.type) == CMD_WRITE;
	if (be16toh(q.type) == CMD_DISC || (moves && length > MAX_REQUEST))
		return -ECONNRESET;
	if (be16toh(q.type) == CMD_WRITE)
		err = get(fd, buf, length);
	if (err)
		return err;
	err = perform(e, &q, buf);
	r.handle = q.handle;
	r.error = htobe32(nbd_errno(err));
	if (err || be16toh(q.type) != CMD_READ)
		return put(fd, &r, sizeof(r));
	err = put(fd, &r, sizeof(r));
	return err ? err : put(fd, buf, length);
}

int nbd_transmit(int fd, const struct nbd_export *export)
{
	char *buf = malloc(MAX_REQUEST);
	int err = buf ? 0 : -ENOMEM;

	while (!err)
		err = one_request(fd, export, buf);
	free(buf);
	return err == -ECONNRESET ? 0 : err;
}

int nbd_serve(int fd, const struct nbd_export *export)
{
	int err = negotiate(fd, export);

	return err ? err == -ECONNRESET ? 0 : err : nbd_transmit(fd, export);
}
