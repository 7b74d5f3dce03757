/*
 * repository.h: a store with a repository in it, and the keys to it.
 *
 * The object "repository" is text (base/fields.h), written last by init and
 * so the sign that the repository is complete:
 *
 *   format=1
 *   id=<16 bytes in hex>
 *   created=<microseconds since 1970>
 *   encryption=aes-256-gcm | none
 *
 * With encryption=none a slot of kind "open" holds the key for everybody;
 * everything else is the same.
 */
#ifndef OMB_REPO_REPOSITORY_H
#define OMB_REPO_REPOSITORY_H

#include "codec/key.h"
#include "codec/seal.h"
#include "repo/packkeys.h"
#include "store/store.h"

typedef struct omb_revision_memory omb_revision_memory;

typedef struct omb_repository
{
	omb_store *store;
	omb_keyring keyring;
	char id[2 * OMB_REPOSITORY_ID_SIZE + 1];
	bool encrypted;
	int64_t created;
	omb_revision_memory *revisions; /* private to repo/revision.c */
	omb_pack_keys *pack_keys;
} omb_repository;

/* What "repository" says, without any key. OMB_NOT_FOUND when there is none. */
typedef struct omb_repository_facts
{
	uint8_t id[OMB_REPOSITORY_ID_SIZE];
	bool encrypted;
	int64_t created;
} omb_repository_facts;

extern omb_status omb_repository_look(omb_store *store,
									  omb_repository_facts *facts,
									  omb_error *err);

/*
 * Open with a secret; the store belongs to the repository from then on, also
 * when opening fails.
 */
extern omb_status omb_repository_open(omb_store *store,
									  const omb_secret *secret,
									  omb_repository **out, omb_error *err);
extern void omb_repository_free(omb_repository *repo);

/*
 * Is it still the repository that was opened, and not another one that was
 * made in its place? What is written with the old key could never be read.
 * OMB_REFUSED when not.
 */
extern omb_status omb_repository_check(omb_repository *repo, omb_error *err);
/* The local directory that the repository is in; NULL when it is in none. */
extern const char *omb_repository_directory(const omb_repository *repo);

/* What the caller of omb_repository_open_url will look at. */
typedef enum omb_browse
{
	OMB_BROWSE_NONE,
	OMB_BROWSE_ALL,	  /* the lists of backups and WAL, the facts of backups */
	OMB_BROWSE_NEWEST /* and all entries of the newest backup */
} omb_browse;

/*
 * Open the repository at a location (store/url.h) with a key file, a recovery
 * code (when key_file is NULL) or, when it is unencrypted, neither.
 * credentials is the file with the secrets for the store, or NULL. A store far
 * away is asked for what browse says while the keys are read.
 */
extern omb_status omb_repository_open_url(
	const char *location, const char *credentials, const char *key_file,
	const char *code, omb_browse browse, omb_repository **out, omb_error *err);
/* The same without credentials. */
extern omb_status omb_repository_open_at(const char *location,
										 const char *key_file,
										 const char *code,
										 omb_repository **out, omb_error *err);

/*
 * Making one: _prepare refuses a store that has anything but the remains of
 * an unfinished init (OMB_EXISTS, OMB_REFUSED), makes the key, the key file
 * and the slots; _commit writes "repository". Between them the caller shows
 * the recovery code, so that no repository exists whose code was never shown.
 * With encrypted false there is neither key file nor code. Running it again
 * after a crash succeeds.
 */
extern omb_status omb_repository_prepare(omb_store *store, bool encrypted,
										 const char *key_file,
										 char code[OMB_RECOVERY_CODE_TEXT],
										 omb_repository **out, omb_error *err);
extern omb_status omb_repository_commit(omb_repository *repo, omb_error *err);

/*
 * Make one more key file for an open repository. The slot is stored before the
 * file is written; the file is never replaced.
 */
extern omb_status omb_repository_add_key_file(omb_repository *repo,
											  const char *path,
											  omb_error *err);

#endif
