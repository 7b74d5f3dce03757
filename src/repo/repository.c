/*
 * repository.c: opening and making a repository.
 */
#include "repo/repository.h"

#include "base/fields.h"
#include "base/file.h"
#include "base/text.h"
#include "repo/manifest.h"
#include "repo/revision.h"
#include "repo/walobject.h"
#include "store/url.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPOSITORY_OBJECT "repository"
#define SMALL_OBJECT_MAX 4096

omb_status
omb_repository_look(omb_store *store, omb_repository_facts *facts,
					omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	const char *format, *id, *encryption;

	memset(facts, 0, sizeof(*facts));
	if (omb_store_get(store, REPOSITORY_OBJECT, SMALL_OBJECT_MAX, &content,
					  err) != OMB_OK)
	{
		if (err->status == OMB_NOT_FOUND)
		{
			(void) omb_error_set(err, OMB_NOT_FOUND,
								 "repository \"%s\" does not exist",
								 store->location);
			omb_error_hint(err, "If it is on a disk of its own, check that "
								"the disk is mounted. To make a new "
								"repository, run: omsupply_backup init");
		}
		omb_buf_free(&content);
		return err->status;
	}
	if (!omb_fields_parse_text(omb_buf_text(&content), content.len, &fields) ||
		(format = omb_fields_get(&fields, "format")) == NULL)
		(void) omb_error_set(err, OMB_DAMAGED, "object \"%s\" is damaged",
							 REPOSITORY_OBJECT);
	else if (strcmp(format, "1") != 0)
	{
		(void) omb_error_set(err, OMB_UNSUPPORTED,
							 "repository \"%s\" has format version "
							 "\"%.16s\", which is not supported",
							 store->location, format);
		omb_error_hint(err, "Use a newer version of omsupply_backup.");
	}
	else if ((id = omb_fields_get(&fields, "id")) == NULL ||
			 !omb_hex_parse(id, facts->id, sizeof(facts->id)) ||
			 (encryption = omb_fields_get(&fields, "encryption")) == NULL ||
			 !omb_fields_get_i64(&fields, "created", &facts->created))
		(void) omb_error_set(err, OMB_DAMAGED, "object \"%s\" is damaged",
							 REPOSITORY_OBJECT);
	else if (strcmp(encryption, "aes-256-gcm") == 0)
		facts->encrypted = true;
	else if (strcmp(encryption, "none") != 0)
		(void) omb_error_set(err, OMB_UNSUPPORTED,
							 "encryption \"%.32s\" is not supported",
							 encryption);
	omb_buf_free(&content);
	return err->status;
}

/* What trying a secret on all slots has come to. */
typedef struct unlock_state
{
	omb_store *store;
	const omb_secret *secret;
	omb_keyring *keyring;
	char **name; /* of all slots */
	int count;
	int fitting; /* slots of the secret's kind */
	int opened;
	omb_error damage; /* of the first slot that could not be read */
} unlock_state;

/* Note a slot; a store far away sends all of them at once. */
static omb_status
note_slot(const omb_store_entry *entry, void *arg, omb_error *err)
{
	unlock_state *state = arg;

	state->name = omb_realloc(state->name, (size_t) (state->count + 1) *
											   sizeof(*state->name));
	state->name[state->count++] = omb_strdup(entry->name);
	if (entry->size <= SMALL_OBJECT_MAX)
		omb_store_expect(state->store, entry->name, 0, (size_t) entry->size);
	return OMB_OK;
}

static omb_status
try_slot(unlock_state *state, const char *name, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_error slot_error = OMB_ERROR_INIT;
	omb_status status;

	if (omb_store_get(state->store, name, SMALL_OBJECT_MAX, &content, err) !=
		OMB_OK)
	{
		omb_buf_free(&content);
		return err->status;
	}
	status = omb_slot_open(state->secret, content.data, content.len,
						   state->keyring, &slot_error);
	if (status == OMB_OK)
		state->opened++;
	if (status != OMB_NOT_FOUND)
		state->fitting++;
	if (status == OMB_DAMAGED || status == OMB_UNSUPPORTED)
	{
		(void) omb_error_context(&slot_error, "object \"%s\"", name);
		if (state->damage.status == OMB_OK)
			state->damage = slot_error;
	}
	omb_buf_free(&content);
	return OMB_OK;
}

/* Fill the keyring by trying the secret on all slots. */
static omb_status
unlock(omb_store *store, const omb_secret *secret, omb_keyring *keyring,
	   omb_error *err)
{
	static const uint8_t nothing[OMB_KEY_SIZE];
	unlock_state state;
	int i;

	memset(&state, 0, sizeof(state));
	state.store = store;
	state.secret = secret;
	state.keyring = keyring;
	(void) omb_store_list(store, "keys", true, note_slot, &state, err);
	for (i = 0; i < state.count; i++)
	{
		if (err->status == OMB_OK)
			(void) try_slot(&state, state.name[i], err);
		free(state.name[i]);
	}
	free(state.name);
	if (err->status != OMB_OK)
		return err->status;
	if (state.opened == 0 && state.damage.status != OMB_OK)
	{
		*err = state.damage;
		return err->status;
	}
	if (state.opened == 0 && state.fitting == 0)
		return omb_error_set(err, OMB_WRONG_KEY,
							 "repository \"%s\" has no key slot of that kind",
							 store->location);
	if (state.opened == 0)
	{
		(void) omb_error_set(
			err, OMB_WRONG_KEY, "the %s does not open repository \"%s\"",
			secret->kind == OMB_SECRET_CODE ? "recovery code" : "key file",
			store->location);
		omb_error_hint(err, "Each repository has a key file and a recovery "
							"code of its own.");
		return err->status;
	}
	for (i = 0; i < keyring->count; i++)
	{
		if (memcmp(keyring->key[i], nothing, OMB_KEY_SIZE) == 0)
			return omb_error_set(
				err, OMB_DAMAGED,
				"the slot of version %d of the repository key is missing",
				i + 1);
	}
	return OMB_OK;
}

omb_status
omb_repository_open(omb_store *store, const omb_secret *secret,
					omb_repository **out, omb_error *err)
{
	omb_repository *repo = omb_calloc(1, sizeof(*repo));
	omb_repository_facts facts;

	*out = NULL;
	repo->store = store;
	repo->revisions = omb_revision_memory_new();
	repo->pack_keys = omb_pack_keys_new();
	if (omb_repository_look(store, &facts, err) == OMB_OK)
	{
		memcpy(repo->keyring.repository_id, facts.id, sizeof(facts.id));
		(void) omb_hex_format(facts.id, sizeof(facts.id), repo->id);
		repo->encrypted = facts.encrypted;
		repo->created = facts.created;
		(void) unlock(store, secret, &repo->keyring, err);
	}
	if (err->status != OMB_OK)
	{
		omb_repository_free(repo);
		return err->status;
	}
	*out = repo;
	return OMB_OK;
}

void
omb_repository_free(omb_repository *repo)
{
	if (repo == NULL)
		return;
	omb_revision_memory_free(repo->revisions);
	omb_pack_keys_free(repo->pack_keys);
	omb_store_free(repo->store);
	omb_wipe(&repo->keyring, sizeof(repo->keyring));
	free(repo);
}

omb_status
omb_repository_check(omb_repository *repo, omb_error *err)
{
	omb_repository_facts facts;

	if (omb_repository_look(repo->store, &facts, err) == OMB_OK &&
		memcmp(facts.id, repo->keyring.repository_id, sizeof(facts.id)) != 0)
		return omb_error_set(err, OMB_REFUSED,
							 "repository \"%s\" was replaced by another one",
							 repo->store->location);
	return err->status;
}

const char *
omb_repository_directory(const omb_repository *repo)
{
	return repo->store->directory;
}

omb_status
omb_repository_open_at(const char *location, const char *key_file,
					   const char *code, omb_repository **out, omb_error *err)
{
	return omb_repository_open_url(location, NULL, key_file, code,
								   OMB_BROWSE_NONE, out, err);
}

omb_status
omb_repository_open_url(const char *location, const char *credentials,
						const char *key_file, const char *code,
						omb_browse browse, omb_repository **out,
						omb_error *err)
{
	omb_store *store;
	omb_repository_facts facts;
	omb_secret secret;

	*out = NULL;
	memset(&secret, 0, sizeof(secret));
	if (omb_store_open_url(location, credentials, &store, err) != OMB_OK)
		return err->status;
	omb_store_expect_list(store, "keys", true);
	if (browse != OMB_BROWSE_NONE)
	{
		omb_store_expect_list(store, OMB_BACKUP_FOLDER, false);
		omb_store_expect_list(store, OMB_WAL_FOLDER, false);
	}
	if (omb_repository_look(store, &facts, err) != OMB_OK)
		;
	else if (!facts.encrypted)
		omb_secret_open(&secret);
	else if (key_file != NULL)
		(void) omb_key_file_read(key_file, facts.id, &secret, err);
	else if (code != NULL)
		(void) omb_recovery_code_read(code, &secret, err);
	else
	{
		(void) omb_error_set(err, OMB_USAGE, "no key for repository \"%s\"",
							 store->location);
		omb_error_hint(err, "Give --key-file or --recovery-code-file.");
	}
	if (err->status != OMB_OK)
	{
		omb_store_free(store);
		return err->status;
	}
	if (browse != OMB_BROWSE_NONE)
		omb_revision_expect(store, browse == OMB_BROWSE_NEWEST);
	(void) omb_repository_open(store, &secret, out, err);
	omb_wipe(&secret, sizeof(secret));
	return err->status;
}

/* Refuse whatever is not the remains of an unfinished init. */
static omb_status
check_leftover(const omb_store_entry *entry, void *arg, omb_error *err)
{
	const omb_store *store = arg;

	/* a disk of its own has "lost+found" */
	if (entry->is_folder && (strcmp(entry->name, "keys") == 0 ||
							 strcmp(entry->name, "lost+found") == 0))
		return OMB_OK;
	(void) omb_error_set(err, OMB_REFUSED, "directory \"%s\" is not empty",
						 store->location);
	omb_error_detail(err, "It contains \"%s\".", entry->name);
	omb_error_hint(err, "Give a directory that is empty or does not exist.");
	return err->status;
}

static omb_status
put_slot(omb_repository *repo, const omb_secret *secret, omb_error *err)
{
	uint8_t id[8];
	char hex[2 * sizeof(id) + 1];
	char *name;
	omb_buf content = OMB_BUF_INIT;

	omb_random(id, sizeof(id));
	name = omb_format("keys/%s", omb_hex_format(id, sizeof(id), hex));
	omb_slot_write(&repo->keyring, repo->keyring.count, secret, &content);
	(void) omb_store_put(repo->store, name, content.data, content.len, err);
	omb_buf_free(&content);
	free(name);
	return err->status;
}

omb_status
omb_repository_add_key_file(omb_repository *repo, const char *path,
							omb_error *err)
{
	omb_secret secret;

	omb_secret_new_file(&secret);
	/*
	 * The slot goes first: an unfinished init knows its key file by the slot
	 * that it opens.
	 */
	if (put_slot(repo, &secret, err) == OMB_OK)
		(void) omb_key_file_write(path, &secret, repo->keyring.repository_id,
								  err);
	omb_wipe(&secret, sizeof(secret));
	return err->status;
}

/*
 * A key file that is there already may come from an init that was cut short:
 * true when it opens a slot of this store. Its repository id is that of the
 * unfinished repository.
 */
static bool
resume_key_file(omb_repository *repo, const char *key_file, omb_secret *secret)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	const char *id;
	char *line;
	bool resumed = false;

	if (omb_file_read(key_file, SMALL_OBJECT_MAX, &content, &ignored) ==
			OMB_OK &&
		(id = strstr(omb_buf_text(&content), "\nrepository=")) != NULL)
	{
		line = omb_format("%.*s", 2 * OMB_REPOSITORY_ID_SIZE, id + 12);
		resumed =
			omb_hex_parse(line, repo->keyring.repository_id,
						  OMB_REPOSITORY_ID_SIZE) &&
			omb_key_file_read(key_file, repo->keyring.repository_id, secret,
							  &ignored) == OMB_OK &&
			unlock(repo->store, secret, &repo->keyring, &ignored) == OMB_OK;
		free(line);
	}
	omb_buf_free(&content);
	return resumed;
}

/* Key file and its slot, or the open slot. */
static omb_status
make_first_slot(omb_repository *repo, const char *key_file, omb_error *err)
{
	omb_secret secret;

	if (!repo->encrypted)
	{
		omb_secret_open(&secret);
		return put_slot(repo, &secret, err);
	}
	if (access(key_file, F_OK) == 0)
	{
		if (!resume_key_file(repo, key_file, &secret))
		{
			(void) omb_error_set(err, OMB_EXISTS,
								 "key file \"%s\" exists already", key_file);
			omb_error_hint(err, "It may open another repository: never "
								"remove it. Give another name.");
		}
		omb_wipe(&secret, sizeof(secret));
		return err->status;
	}
	return omb_repository_add_key_file(repo, key_file, err);
}

omb_status
omb_repository_prepare(omb_store *store, bool encrypted, const char *key_file,
					   char code[OMB_RECOVERY_CODE_TEXT], omb_repository **out,
					   omb_error *err)
{
	omb_repository *repo = omb_calloc(1, sizeof(*repo));
	omb_repository_facts facts;
	omb_secret secret;

	*out = NULL;
	repo->store = store;
	repo->revisions = omb_revision_memory_new();
	repo->pack_keys = omb_pack_keys_new();
	repo->encrypted = encrypted;
	repo->created = omb_time_now();
	omb_random(repo->keyring.repository_id, OMB_REPOSITORY_ID_SIZE);
	repo->keyring.count = 1;
	omb_random(repo->keyring.key[0], OMB_KEY_SIZE);
	code[0] = '\0';

	if (omb_repository_look(store, &facts, err) != OMB_NOT_FOUND)
	{
		if (err->status == OMB_OK)
			(void) omb_error_set(err, OMB_EXISTS,
								 "repository \"%s\" exists already",
								 store->location);
		goto failed;
	}
	omb_error_clear(err);
	if (omb_store_list(store, "", false, check_leftover, store, err) !=
			OMB_OK ||
		make_first_slot(repo, key_file, err) != OMB_OK)
		goto failed;
	if (encrypted)
	{
		omb_secret_new_code(&secret, code);
		(void) put_slot(repo, &secret, err);
		omb_wipe(&secret, sizeof(secret));
		if (err->status != OMB_OK)
			goto failed;
	}
	(void) omb_hex_format(repo->keyring.repository_id, OMB_REPOSITORY_ID_SIZE,
						  repo->id);
	*out = repo;
	return OMB_OK;

failed:
	omb_repository_free(repo);
	return err->status;
}

omb_status
omb_repository_commit(omb_repository *repo, omb_error *err)
{
	char *text = omb_format(
		"format=1\nid=%s\ncreated=%" PRId64 "\nencryption=%s\n", repo->id,
		repo->created, repo->encrypted ? "aes-256-gcm" : "none");

	(void) omb_store_put(repo->store, REPOSITORY_OBJECT, text, strlen(text),
						 err);
	free(text);
	return err->status;
}
