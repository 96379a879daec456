/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/internal.h"
int fs_xfs(const struct fs_reader *r)
{
	return -EMEDIUMTYPE;
}
int fs_ntfs(const struct fs_reader *r)
{
	return -EMEDIUMTYPE;
}
int vhdx_open(struct disk *d)
{
	return -EMEDIUMTYPE;
}
int vhdx_create(int fd, const struct disk_create *how, const struct disk_io *io)
{
	return -ENOTSUP;
}
int vhdx_match(struct disk *c, struct disk *p)
{
	return -ENOTSUP;
}
int vhdx_check(struct checker *c)
{
	return -EMEDIUMTYPE;
}
