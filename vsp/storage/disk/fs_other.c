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
