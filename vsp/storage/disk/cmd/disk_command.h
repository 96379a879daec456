/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead disk ...`, without the daemon: on files the caller can open.
 * argv[0] is "disk". Returns the exit status: 0 done, 1 failed (said why on stderr), 2 wrong usage,
 * 3 `check` found something that it did not repair, 130 cancelled with ^C.
 */
#ifndef BULKHEAD_DISK_COMMAND_H
#define BULKHEAD_DISK_COMMAND_H

int disk_command(int argc, char **argv);

#endif
