/*
 * error.c: setting and extending error texts.
 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

omb_status
omb_error_set(omb_error *err, omb_status status, const char *fmt, ...)
{
	va_list args;

	err->status = status;
	err->detail[0] = '\0';
	err->hint[0] = '\0';
	va_start(args, fmt);
	(void) vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return status;
}

omb_status
omb_error_set_errno(omb_error *err, int errnum, const char *fmt, ...)
{
	char reason[128];
	const char *text;
	size_t used;
	va_list args;

	err->status =
		(errnum == ENOSPC || errnum == EDQUOT) ? OMB_NO_SPACE : OMB_FAILED;
	err->detail[0] = '\0';
	err->hint[0] = '\0';
	va_start(args, fmt);
	(void) vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);

	/* the GNU strerror_r, which is safe in threads */
	text = strerror_r(errnum, reason, sizeof(reason));
	used = strlen(err->message);
	(void) snprintf(err->message + used, sizeof(err->message) - used, ": %s",
					text);
	return err->status;
}

omb_status
omb_error_context(omb_error *err, const char *fmt, ...)
{
	char context[sizeof(err->message)];
	char old[sizeof(err->message)];
	va_list args;
	size_t used;

	memcpy(old, err->message, sizeof(old));
	va_start(args, fmt);
	(void) vsnprintf(context, sizeof(context), fmt, args);
	va_end(args);
	used = strlen(context);
	memcpy(err->message, context, used + 1);
	(void) snprintf(err->message + used, sizeof(err->message) - used, ": %s",
					old);
	return err->status;
}

void
omb_error_detail(omb_error *err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(err->detail, sizeof(err->detail), fmt, args);
	va_end(args);
}

void
omb_error_hint(omb_error *err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void) vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
}

void
omb_error_clear(omb_error *err)
{
	err->status = OMB_OK;
	err->message[0] = '\0';
	err->detail[0] = '\0';
	err->hint[0] = '\0';
}
