/*
 * error.h: the status every function of the core returns, and the text that
 * explains a failure.
 *
 * A function that can fail returns omb_status and takes an omb_error as its
 * last argument. The error is set where the failure is seen, with the name of
 * the object and the reason; callers add context in front and never replace
 * the text. An omb_error starts as all zeros (OMB_ERROR_INIT), and a function
 * is called with one that holds no error: whoever deals with an error clears
 * it.
 */
#ifndef OMB_BASE_ERROR_H
#define OMB_BASE_ERROR_H

#include <stdarg.h>

typedef enum omb_status
{
	OMB_OK = 0,
	OMB_FAILED,		 /* a system call or a peer failed; may pass */
	OMB_NOT_FOUND,	 /* the named thing is proven absent */
	OMB_EXISTS,		 /* the named thing is there already */
	OMB_DAMAGED,	 /* stored bytes fail a check */
	OMB_WRONG_KEY,	 /* the key does not open this repository */
	OMB_NO_SPACE,	 /* the file system is full */
	OMB_UNSUPPORTED, /* written by a version this one does not know */
	OMB_REFUSED,	 /* doing it now would endanger data; see the hint */
	OMB_CANCELLED,	 /* stopped on request */
	OMB_USAGE,		 /* the caller's arguments make no sense */
	OMB_BUSY		 /* another program holds what is needed */
} omb_status;

typedef struct omb_error
{
	omb_status status;
	char message[1024]; /* lower case, no period: what failed, and why */
	char detail[1024];	/* sentences, or empty */
	char hint[512];		/* sentences: what to do; or empty */
} omb_error;

/* clang-format off */
#define OMB_ERROR_INIT { OMB_OK, "", "", "" }
/* clang-format on */

/* Set status and message, drop detail and hint; returns status. */
extern omb_status omb_error_set(omb_error *err, omb_status status,
								const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * As omb_error_set, with ": " and the system's text for errnum appended. The
 * status is OMB_NO_SPACE for ENOSPC and EDQUOT and OMB_FAILED for the rest.
 */
extern omb_status omb_error_set_errno(omb_error *err, int errnum,
									  const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put context in front of the message: "context: message". */
extern omb_status omb_error_context(omb_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

extern void omb_error_detail(omb_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
extern void omb_error_hint(omb_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Forget an error that was dealt with. */
extern void omb_error_clear(omb_error *err);

#endif
