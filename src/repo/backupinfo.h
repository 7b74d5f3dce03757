/*
 * backupinfo.h: the facts of a backup as text (base/fields.h).
 */
#ifndef OMB_REPO_BACKUPINFO_H
#define OMB_REPO_BACKUPINFO_H

#include "repo/manifest.h"

extern void omb_backup_info_write(const omb_backup_info *info, omb_buf *out);
/* Names it does not know are left out; a fact that is missing is damage. */
extern omb_status omb_backup_info_read(const uint8_t *text, size_t len,
									   omb_backup_info *info, omb_error *err);

/* Append "name=value\n" with the value escaped. */
extern void omb_text_put(omb_buf *out, const char *name, const char *value);

#endif
