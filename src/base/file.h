/*
 * file.h: whole-file and directory operations with clear errors.
 */
#ifndef OMB_BASE_FILE_H
#define OMB_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A file's time in nanoseconds since 1970; times before that as 0. */
extern uint64_t omb_nanoseconds(const struct timespec *time);

/* Read or write all len bytes; -1 with errno, or the bytes before the end. */
extern ssize_t omb_read_full(int fd, void *data, size_t len);
extern ssize_t omb_pread_full(int fd, void *data, size_t len, off_t offset);
extern int omb_write_full(int fd, const void *data, size_t len);
extern int omb_pwrite_full(int fd, const void *data, size_t len, off_t offset);

/*
 * Append the content of a file to out; OMB_NOT_FOUND when there is none,
 * OMB_DAMAGED when it is larger than max bytes.
 */
extern omb_status omb_file_read(const char *path, size_t max, omb_buf *out,
								omb_error *err);

/*
 * Put content under a name, replacing what was there, so that after a crash
 * there is the old or the new content and never a mixture; durable on return.
 */
extern omb_status omb_file_replace(const char *path, const void *data,
								   size_t len, mode_t mode, omb_error *err);

/*
 * Open a path below a directory, "" for the directory itself, without
 * following any symbolic link on the way: ELOOP or ENOTDIR then. -1 with
 * errno.
 */
extern int omb_open_below(int directory, const char *path, int flags,
						  mode_t mode);

/* Create a directory and its parents; one that exists is fine. */
extern omb_status omb_directory_create(const char *path, mode_t mode,
									   omb_error *err);

/* Make the entries of a directory durable. */
extern omb_status omb_directory_sync(const char *path, omb_error *err);

/* Nothing in it but "lost+found"; a directory that is not there is empty. */
extern omb_status omb_directory_is_empty(const char *path, bool *empty,
										 omb_error *err);

/* Remove a directory and all that is in it, following no link. */
extern omb_status omb_tree_remove(const char *path, omb_error *err);

/* A relative path without "", "." and ".." components. */
extern bool omb_path_is_safe(const char *path);

/* An absolute form of path, which need not exist; in new memory. */
extern char *omb_path_absolute(const char *path);

/* Path up to the last slash, in new memory; "." when there is none. */
extern char *omb_path_parent(const char *path);

#endif
