/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong, and the one translation of an errno.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "proto/api.pb-c.h"

int fault_set(struct fault *f, int code, const char *hint, const char *fmt, ...)
{
	va_list ap;

	f->code = code;
	f->where[0] = '\0';
	f->job = 0;
	snprintf(f->hint, sizeof(f->hint), "%s", hint ? hint : "");
	va_start(ap, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
	return -1;
}

int fault_code(int error)
{
	switch (error < 0 ? -error : error) {
	case ENOENT:
	case ESRCH:
		return BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND;
	case EEXIST:
		return BULKHEAD__ERROR_CODE__ERROR_EXISTS;
	case EINVAL:
	case EISDIR:
	case ENOTDIR:
	case ENAMETOOLONG:
	case ENOEXEC:
	case EBADMSG:
	case ERANGE:
		return BULKHEAD__ERROR_CODE__ERROR_INVALID;
	case EACCES:
	case EPERM:
		return BULKHEAD__ERROR_CODE__ERROR_DENIED;
	case EAGAIN:
	case EBUSY:
	case ENOMEM:
	case ENFILE:
	case EMFILE:
		return BULKHEAD__ERROR_CODE__ERROR_BUSY;
	case EFBIG:
	case EMSGSIZE:
	case E2BIG:
		return BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE;
	case ENOSYS:
	case EOPNOTSUPP:
		return BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED;
	case EPIPE:
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOTCONN:
		return BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE;
	case ETIMEDOUT:
		return BULKHEAD__ERROR_CODE__ERROR_TIMEOUT;
	case ECANCELED:
		return BULKHEAD__ERROR_CODE__ERROR_CANCELLED;
	default:
		return BULKHEAD__ERROR_CODE__ERROR_FAILED;
	}
}

uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
