/* SPDX-License-Identifier: Apache-2.0
 *
 * Each test program here defines one suite; suite.c runs it.
 */
#ifndef BULKHEAD_TESTS_WORKER_SUITE_H
#define BULKHEAD_TESTS_WORKER_SUITE_H

#include <check.h>

Suite *worker_suite(void);

#endif
