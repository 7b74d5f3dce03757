/*
 * pin.c: backups that no retention rule may remove.
 */
#include "repo/pin.h"

#include "base/fields.h"
#include "base/text.h"
#include "repo/backupinfo.h"
#include "repo/markobject.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIN_FOLDER "marks/pins"
#define PIN_MAX 16384

void
omb_pin_clear(omb_pin *pin)
{
	free(pin->reason);
	memset(pin, 0, sizeof(*pin));
}

static omb_status
check_id(const char *backup, omb_error *err)
{
	if (!omb_backup_id_valid(backup))
		return omb_error_set(err, OMB_USAGE,
							 "\"%s\" is not the id of a backup", backup);
	return OMB_OK;
}

static omb_status
check_reason(const char *reason, omb_error *err)
{
	const char *p;

	if (strlen(reason) > OMB_PIN_REASON_MAX)
		return omb_error_set(err, OMB_USAGE,
							 "the reason is too long (at most %d bytes)",
							 OMB_PIN_REASON_MAX);
	for (p = reason; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			return omb_error_set(
				err, OMB_USAGE,
				"the reason must not contain control characters");
	}
	return OMB_OK;
}

omb_status
omb_pin_put(omb_repository *repo, const char *backup, const char *reason,
			omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_manifest *manifest = NULL;
	omb_lock *lock = NULL;
	char *name;

	if (check_id(backup, err) != OMB_OK || check_reason(reason, err) != OMB_OK)
		return err->status;
	name = omb_format(PIN_FOLDER "/%s", backup);
	/* with the lock nobody is removing it now */
	if (omb_store_lock(repo->store, false, &lock, err) == OMB_OK &&
		omb_manifest_open(repo, backup, &manifest, err) == OMB_OK)
	{
		omb_text_put(&content, "backup", backup);
		omb_text_put(&content, "reason", reason);
		omb_buf_printf(&content, "pinned_at=%" PRId64 "\n", omb_time_now());
		if (omb_stream_put(repo, OMB_KIND_MARK, name, content.data,
						   content.len, err) == OMB_EXISTS)
		{
			(void) omb_error_set(err, OMB_EXISTS,
								 "backup \"%s\" is pinned already", backup);
			omb_error_hint(err, "To change the reason, unpin it first.");
		}
	}
	omb_manifest_close(manifest);
	omb_store_unlock(lock);
	omb_buf_free(&content);
	free(name);
	return err->status;
}

omb_status
omb_pin_remove(omb_repository *repo, const char *backup, omb_error *err)
{
	omb_lock *lock = NULL;
	char *name;

	if (check_id(backup, err) != OMB_OK)
		return err->status;
	name = omb_format(PIN_FOLDER "/%s", backup);
	/* only expire looks at pins, and it holds the lock alone */
	if (omb_store_lock(repo->store, false, &lock, err) == OMB_OK &&
		omb_store_remove(repo->store, name, err) == OMB_NOT_FOUND)
		(void) omb_error_set(err, OMB_NOT_FOUND, "backup \"%s\" is not pinned",
							 backup);
	omb_store_unlock(lock);
	free(name);
	return err->status;
}

omb_status
omb_pin_read(omb_repository *repo, const char *backup, omb_pin *pin,
			 omb_error *err)
{
	char *name = omb_format(PIN_FOLDER "/%s", backup);
	omb_buf content = OMB_BUF_INIT;
	const char *of, *reason = "";
	omb_mark_found found;
	omb_fields fields;

	memset(pin, 0, sizeof(*pin));
	if (omb_mark_object_get(repo, name, PIN_MAX, &content, &fields, &found,
							err) == OMB_OK)
	{
		/* one that cannot be read pins, too */
		pin->pinned = found != OMB_MARK_ABSENT;
		if (found == OMB_MARK_FOUND &&
			(of = omb_fields_get(&fields, "backup")) != NULL &&
			strcmp(of, backup) == 0 &&
			omb_fields_get_i64(&fields, "pinned_at", &pin->pinned_at))
			reason = omb_fields_get(&fields, "reason");
		pin->reason = omb_strdup(reason ? reason : "");
	}
	omb_buf_free(&content);
	free(name);
	return err->status;
}
