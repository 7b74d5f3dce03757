/*
 * claim.c: the fence between a cluster and copies of it.
 */
#include "repo/claim.h"

#include "base/fields.h"
#include "base/file.h"
#include "base/text.h"
#include "repo/backupinfo.h"
#include "repo/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLAIM_FOLDER "marks/claims"
#define CLAIM_MAX 16384

void
omb_claim_clear(omb_claim *claim)
{
	free(claim->pgdata);
	free(claim->host);
	memset(claim, 0, sizeof(*claim));
}

static omb_status
highest_number(const omb_store_entry *entry, void *arg, omb_error *err)
{
	uint32_t *highest = arg;
	uint64_t number;

	if (!entry->is_folder &&
		omb_u64_parse(entry->name + strlen(CLAIM_FOLDER) + 1, &number) &&
		number <= 99999999 && number > *highest)
		*highest = (uint32_t) number;
	return OMB_OK;
}

omb_status
omb_claim_number(omb_repository *repo, uint32_t *number, omb_error *err)
{
	*number = 0;
	return omb_store_list(repo->store, CLAIM_FOLDER, false, highest_number,
						  number, err);
}

omb_status
omb_claim_read(omb_repository *repo, omb_claim *claim, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	const char *instance, *pgdata, *host;
	char *name;

	memset(claim, 0, sizeof(*claim));
	if (omb_claim_number(repo, &claim->number, err) != OMB_OK ||
		claim->number == 0)
		return err->status;
	name = omb_format(CLAIM_FOLDER "/%08u", claim->number);
	if (omb_stream_get(repo, OMB_KIND_MARK, name, CLAIM_MAX, &content, err) ==
		OMB_OK)
	{
		if (omb_fields_parse_text(omb_buf_text(&content), content.len,
								  &fields) &&
			(instance = omb_fields_get(&fields, "instance")) != NULL &&
			strlen(instance) < OMB_INSTANCE_TEXT &&
			(pgdata = omb_fields_get(&fields, "pgdata")) != NULL &&
			(host = omb_fields_get(&fields, "host")) != NULL &&
			omb_fields_get_u64(&fields, "system_identifier",
							   &claim->system_identifier) &&
			omb_fields_get_i64(&fields, "claimed_at", &claim->claimed_at))
		{
			memcpy(claim->instance, instance, strlen(instance) + 1);
			claim->pgdata = omb_strdup(pgdata);
			claim->host = omb_strdup(host);
		}
		else
			(void) omb_error_set(err, OMB_DAMAGED, "object \"%s\" is damaged",
								 name);
	}
	free(name);
	omb_buf_free(&content);
	return err->status;
}

/* The machine's id, or "" where it has none; in new memory. */
static char *
machine_id(void)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	char *text;

	(void) omb_file_read("/etc/machine-id", 4096, &content, &ignored);
	text = omb_buf_text(&content);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* The directory's real path, in new memory. */
static char *
real_path(const char *pgdata)
{
	char *real = realpath(pgdata, NULL);

	return real ? real : omb_path_absolute(pgdata);
}

/*
 * Read the instance file; *instance is "" when there is none that was made
 * for this very place.
 */
static omb_status
read_instance(const char *pgdata, char instance[OMB_INSTANCE_TEXT],
			  omb_error *err)
{
	char *path = omb_format("%s/" OMB_INSTANCE_FILE, pgdata);
	char *real = real_path(pgdata);
	char *machine = machine_id();
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	const char *id, *there, *on;
	uint64_t inode;
	struct stat st;

	instance[0] = '\0';
	if (omb_file_read(path, CLAIM_MAX, &content, err) != OMB_OK)
	{
		if (err->status == OMB_NOT_FOUND)
			omb_error_clear(err);
	}
	else if (stat(path, &st) == 0 &&
			 omb_fields_parse_text(omb_buf_text(&content), content.len,
								   &fields) &&
			 (id = omb_fields_get(&fields, "instance")) != NULL &&
			 strlen(id) < OMB_INSTANCE_TEXT &&
			 omb_fields_get_u64(&fields, "inode", &inode) &&
			 inode == (uint64_t) st.st_ino &&
			 (there = omb_fields_get(&fields, "pgdata")) != NULL &&
			 strcmp(there, real) == 0 &&
			 (on = omb_fields_get(&fields, "machine")) != NULL &&
			 (*on == '\0' || *machine == '\0' || strcmp(on, machine) == 0))
		memcpy(instance, id, strlen(id) + 1);
	omb_buf_free(&content);
	free(machine);
	free(real);
	free(path);
	return err->status;
}

/* Write the content for the file that fd is, which knows its own inode. */
static omb_status
fill_instance_file(int fd, const char *path, const char *pgdata,
				   const char *instance, omb_error *err)
{
	char *real = real_path(pgdata);
	char *machine = machine_id();
	omb_buf content = OMB_BUF_INIT;
	struct stat st;

	if (fstat(fd, &st) != 0)
		(void) omb_error_set_errno(err, errno, "could not stat file \"%s\"",
								   path);
	else
	{
		omb_buf_printf(&content, "format=1\ninstance=%s\ninode=%" PRIu64 "\n",
					   instance, (uint64_t) st.st_ino);
		omb_text_put(&content, "pgdata", real);
		omb_text_put(&content, "machine", machine);
		if (omb_write_full(fd, content.data, content.len) != 0 ||
			fsync(fd) != 0)
			(void) omb_error_set_errno(err, errno,
									   "could not write file \"%s\"", path);
	}
	omb_buf_free(&content);
	free(machine);
	free(real);
	return err->status;
}

/* Give the data directory a new instance id. */
static omb_status
make_instance(const char *pgdata, char instance[OMB_INSTANCE_TEXT],
			  omb_error *err)
{
	char *path = omb_format("%s/" OMB_INSTANCE_FILE, pgdata);
	char *temporary = omb_format("%s.tmp", path);
	uint8_t id[(OMB_INSTANCE_TEXT - 1) / 2];
	int fd;

	omb_random(id, sizeof(id));
	(void) omb_hex_format(id, sizeof(id), instance);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   temporary);
	else
	{
		(void) fill_instance_file(fd, temporary, pgdata, instance, err);
		(void) close(fd);
		/* renaming keeps the inode */
		if (err->status == OMB_OK && rename(temporary, path) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not rename file \"%s\"", temporary);
		if (err->status == OMB_OK)
			(void) omb_directory_sync(pgdata, err);
		else
			(void) unlink(temporary);
	}
	free(temporary);
	free(path);
	return err->status;
}

/* Add claim number for an instance; OMB_EXISTS when somebody was quicker. */
static omb_status
put_claim(omb_repository *repo, uint32_t number, const char *pgdata,
		  uint64_t system_identifier, const char *instance, omb_error *err)
{
	char *name = omb_format(CLAIM_FOLDER "/%08u", number);
	char *real = real_path(pgdata);
	char host[HOST_NAME_MAX + 1];
	omb_buf content = OMB_BUF_INIT;

	if (gethostname(host, sizeof(host)) != 0)
		host[0] = '\0';
	host[HOST_NAME_MAX] = '\0';
	omb_buf_printf(&content,
				   "instance=%s\nsystem_identifier=%" PRIu64
				   "\nclaimed_at=%" PRId64 "\n",
				   instance, system_identifier, omb_time_now());
	omb_text_put(&content, "pgdata", real);
	omb_text_put(&content, "host", host);
	(void) omb_stream_put(repo, OMB_KIND_MARK, name, content.data, content.len,
						  err);
	omb_buf_free(&content);
	free(real);
	free(name);
	return err->status;
}

/* Refuse with the owner's name. */
static omb_status
refuse(const omb_claim *claim, const char *pgdata, omb_error *err)
{
	char when[OMB_TIME_TEXT];

	(void) omb_error_set(err, OMB_REFUSED,
						 "the repository belongs to another copy of this "
						 "cluster than \"%s\"",
						 pgdata);
	omb_error_detail(err,
					 "It belongs to data directory \"%s\" on host \"%s\" "
					 "since %s.",
					 claim->pgdata, claim->host,
					 omb_time_format(claim->claimed_at, when));
	omb_error_hint(err,
				   "If this server takes the place of that one, which must "
				   "never run again, execute \"SELECT backup_adopt()\" here. "
				   "If this is a copy for tests, set archive_mode to off.");
	return err->status;
}

static omb_status
check_cluster(const omb_claim *claim, uint64_t system_identifier,
			  omb_error *err)
{
	if (claim->number == 0 || claim->system_identifier == system_identifier)
		return OMB_OK;
	(void) omb_error_set(err, OMB_REFUSED,
						 "the repository belongs to another cluster");
	omb_error_detail(err,
					 "Its system identifier is %" PRIu64
					 ", this cluster's is %" PRIu64 ".",
					 claim->system_identifier, system_identifier);
	omb_error_hint(err, "Give this cluster a repository of its own.");
	return err->status;
}

/*
 * The archiver and the first backup may come to claim at the same instant:
 * one waits for the other and then finds its claim. Where a file system has
 * no locks the slower one fails, and may try again. Closing ends it.
 */
static int
lock_directory(const char *pgdata)
{
	int fd = open(pgdata, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void) flock(fd, LOCK_EX);
	return fd;
}

omb_status
omb_claim_check(omb_repository *repo, const char *pgdata,
				uint64_t system_identifier, uint32_t *number, omb_error *err)
{
	omb_claim claim;
	char instance[OMB_INSTANCE_TEXT];
	int fd = -1;

	*number = 0;
	if (omb_claim_read(repo, &claim, err) == OMB_OK && claim.number == 0)
	{
		fd = lock_directory(pgdata);
		omb_claim_clear(&claim);
		(void) omb_claim_read(repo, &claim, err);
	}
	if (err->status == OMB_OK &&
		check_cluster(&claim, system_identifier, err) == OMB_OK &&
		read_instance(pgdata, instance, err) == OMB_OK)
	{
		if (claim.number == 0)
		{
			/* the file first: after a crash it is found and claims again */
			if (instance[0] == '\0')
				(void) make_instance(pgdata, instance, err);
			if (err->status == OMB_OK)
				(void) put_claim(repo, 1, pgdata, system_identifier, instance,
								 err);
			*number = 1;
		}
		else if (strcmp(instance, claim.instance) != 0)
			(void) refuse(&claim, pgdata, err);
		else
			*number = claim.number;
	}
	if (fd >= 0)
		(void) close(fd);
	omb_claim_clear(&claim);
	return err->status;
}

omb_status
omb_claim_take(omb_repository *repo, const char *pgdata,
			   uint64_t system_identifier, char instance[OMB_INSTANCE_TEXT],
			   char previous[OMB_INSTANCE_TEXT], omb_error *err)
{
	omb_claim claim;

	previous[0] = '\0';
	if (omb_claim_read(repo, &claim, err) == OMB_OK &&
		check_cluster(&claim, system_identifier, err) == OMB_OK &&
		read_instance(pgdata, instance, err) == OMB_OK)
	{
		memcpy(previous, claim.instance, sizeof(claim.instance));
		if (instance[0] == '\0')
			(void) make_instance(pgdata, instance, err);
		if (err->status == OMB_OK &&
			(claim.number == 0 || strcmp(instance, claim.instance) != 0))
			(void) put_claim(repo, claim.number + 1, pgdata, system_identifier,
							 instance, err);
	}
	omb_claim_clear(&claim);
	return err->status;
}
