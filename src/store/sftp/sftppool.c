/*
 * sftppool.c: connections to one SFTP server.
 */
#include "store/sftp/sftppool.h"

#include "base/buffer.h"
#include "base/text.h"
#include "store/credentials.h"
#include "store/retry.h"

#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct omb_sftp_pool
{
	omb_retry_policy policy;
	omb_sftp_login login; /* without what is in the credentials file */
	char *host;
	char *port;
	char *user; /* NULL: of the credentials, or of this process */
	char *root;
	char *host_key;
	char *known_hosts;
	char *credentials_file;
	char *location;
	pthread_mutex_t lock; /* for what follows */
	omb_sftp_conn **idle; /* the one that was used last is the last one */
	size_t count;
	size_t cap;
	int kind; /* of the host's key */
	pid_t pid;
};

static uint32_t
or_default(uint32_t value, uint32_t other)
{
	return value != 0 ? value : other;
}

static char *
copy(const char *text)
{
	return text != NULL ? omb_strdup(text) : NULL;
}

static omb_status
check_config(const omb_sftp_config *config, omb_error *err)
{
	uint64_t port;

	if (config->host == NULL || *config->host == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the URL \"sftp://\" names no server");
	if (config->port != NULL &&
		(!omb_u64_parse(config->port, &port) || port == 0 || port > 65535))
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no port",
							 config->port);
	if (config->host_key != NULL && strncmp(config->host_key, "SHA256:", 7))
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "\"%s\" is no fingerprint of a host key",
							 config->host_key);
		omb_error_hint(err, "On the server \"ssh-keygen -lf "
							"/etc/ssh/ssh_host_ed25519_key.pub\" shows it; it "
							"begins with \"SHA256:\".");
		return err->status;
	}
	if (config->known_hosts != NULL && config->known_hosts[0] != '/')
		return omb_error_set(err, OMB_USAGE,
							 "the path of the file of known hosts must be "
							 "absolute");
	if (config->common.credentials_file == NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "there are no credentials for \"sftp://%s\"",
							 config->host);
		omb_error_hint(err, "Give a credentials file with \"key_file=...\" or "
							"\"password=...\".");
	}
	return err->status;
}

omb_status
omb_sftp_pool_new(const omb_sftp_config *config, omb_sftp_pool **pool,
				  omb_error *err)
{
	const char *path =
		config->common.prefix != NULL ? config->common.prefix : "";
	omb_sftp_pool *p;
	bool usual, is_v6;

	*pool = NULL;
	if (check_config(config, err) != OMB_OK)
		return err->status;
	p = omb_calloc(1, sizeof(*p));
	p->policy.tries = or_default(config->common.tries, 8);
	p->policy.first = or_default(config->common.retry_first, 200);
	p->policy.longest = 20000;
	p->policy.cancelled = config->common.cancelled;
	p->policy.arg = config->common.arg;
	p->policy.seconds = or_default(config->common.retry_seconds, 120);
	p->host = omb_strdup(config->host);
	p->port = omb_strdup(config->port != NULL ? config->port : "22");
	p->user = copy(config->user);
	p->host_key = copy(config->host_key);
	p->known_hosts = copy(config->known_hosts);
	p->credentials_file = omb_strdup(config->common.credentials_file);
	if (strcmp(path, "") == 0 || strcmp(path, "~") == 0)
		p->root = omb_strdup(".");
	else if (strncmp(path, "~/", 2) == 0)
		p->root = omb_strdup(path + 2);
	else
		p->root = omb_format("/%s", path);
	usual = strcmp(p->port, "22") == 0;
	is_v6 = strchr(p->host, ':') != NULL;
	p->location =
		omb_format("sftp://%s%s%s%s%s%s%s%s%s", p->user != NULL ? p->user : "",
				   p->user != NULL ? "@" : "", is_v6 ? "[" : "", p->host,
				   is_v6 ? "]" : "", usual ? "" : ":", usual ? "" : p->port,
				   *path != '\0' ? "/" : "", path);
	p->login.host = p->host;
	p->login.port = p->port;
	p->login.host_key = p->host_key;
	p->login.known_hosts = p->known_hosts;
	p->login.connect_seconds = or_default(config->common.connect_seconds, 10);
	p->login.stall_seconds = or_default(config->common.stall_seconds, 60);
	(void) pthread_mutex_init(&p->lock, NULL);
	p->pid = getpid();
	*pool = p;
	return OMB_OK;
}

void
omb_sftp_pool_free(omb_sftp_pool *pool)
{
	size_t i;

	if (pool == NULL)
		return;
	/* those of a parent are not ours to close */
	for (i = 0; i < pool->count && pool->pid == getpid(); i++)
		omb_sftp_disconnect(pool->idle[i]);
	free(pool->idle);
	(void) pthread_mutex_destroy(&pool->lock);
	free(pool->host);
	free(pool->port);
	free(pool->user);
	free(pool->root);
	free(pool->host_key);
	free(pool->known_hosts);
	free(pool->credentials_file);
	free(pool->location);
	free(pool);
}

const char *
omb_sftp_pool_location(const omb_sftp_pool *pool)
{
	return pool->location;
}

const char *
omb_sftp_pool_root(const omb_sftp_pool *pool)
{
	return pool->root;
}

char *
omb_sftp_path(const omb_sftp_pool *pool, const char *name)
{
	if (name[0] == '\0')
		return omb_strdup(pool->root);
	return omb_format("%s/%s", pool->root, name);
}

/* ---- taking and giving ---- */

/* One that is open, the one with the file if there is; or NULL. */
static omb_sftp_conn *
take_idle(omb_sftp_pool *pool, const char *path)
{
	omb_sftp_conn *conn = NULL;

	(void) pthread_mutex_lock(&pool->lock);
	if (pool->pid != getpid())
	{
		/* after a fork they are the parent's: forget them as they are */
		pool->count = 0;
		pool->pid = getpid();
	}
	while (conn == NULL && pool->count > 0)
	{
		size_t i = pool->count - 1;
		size_t j;

		for (j = 0; path != NULL && j < pool->count; j++)
		{
			const char *opened = omb_sftp_opened(pool->idle[j]);

			if (opened != NULL && strcmp(opened, path) == 0)
				i = j;
		}
		conn = pool->idle[i];
		pool->count--;
		memmove(pool->idle + i, pool->idle + i + 1,
				(pool->count - i) * sizeof(*pool->idle));
		if (!omb_sftp_is_alive(conn))
		{
			omb_sftp_disconnect(conn);
			conn = NULL;
		}
	}
	(void) pthread_mutex_unlock(&pool->lock);
	return conn;
}

void
omb_sftp_give(omb_sftp_pool *pool, omb_sftp_conn *conn)
{
	if (conn == NULL)
		return;
	if (omb_sftp_is_lost(conn))
	{
		omb_sftp_disconnect(conn);
		return;
	}
	(void) pthread_mutex_lock(&pool->lock);
	if (pool->count == pool->cap)
	{
		pool->cap = pool->cap ? 2 * pool->cap : 8;
		pool->idle = omb_realloc(pool->idle, pool->cap * sizeof(*pool->idle));
	}
	pool->idle[pool->count++] = conn;
	(void) pthread_mutex_unlock(&pool->lock);
}

/* What went away with one connection may have taken the others along. */
static void
drop_idle(omb_sftp_pool *pool)
{
	omb_sftp_conn *conn;

	do
	{
		conn = NULL;
		(void) pthread_mutex_lock(&pool->lock);
		if (pool->pid == getpid() && pool->count > 0)
			conn = pool->idle[--pool->count];
		(void) pthread_mutex_unlock(&pool->lock);
		omb_sftp_disconnect(conn);
	} while (conn != NULL);
}

/* Log in with what the credentials file says now. */
static omb_status
connect_new(omb_sftp_pool *pool, omb_sftp_conn **conn, bool *passes,
			omb_error *err)
{
	omb_sftp_login login = pool->login;
	omb_credentials secrets;
	struct passwd entry;
	struct passwd *found = NULL;
	char space[4096];
	int kind;

	*passes = false;
	if (omb_credentials_read_login(pool->credentials_file, &secrets, err) !=
		OMB_OK)
		return err->status;
	login.user = pool->user != NULL ? pool->user : secrets.user;
	if (login.user == NULL &&
		getpwuid_r(geteuid(), &entry, space, sizeof(space), &found) == 0 &&
		found != NULL)
		login.user = entry.pw_name;
	login.key_file = secrets.key_file;
	login.passphrase = secrets.passphrase;
	login.password = secrets.password;
	(void) pthread_mutex_lock(&pool->lock);
	kind = pool->kind;
	(void) pthread_mutex_unlock(&pool->lock);
	if (login.user == NULL)
		(void) omb_error_set(err, OMB_USAGE, "the URL names no user");
	else if (login.key_file == NULL && login.password == NULL)
		(void) omb_error_set(err, OMB_USAGE,
							 "credentials file \"%s\" has no key_file and no "
							 "password",
							 pool->credentials_file);
	else if (login.key_file == NULL ||
			 omb_check_private(login.key_file, "private key file", err) ==
				 OMB_OK)
		(void) omb_sftp_connect(&login, &kind, conn, passes, err);
	(void) pthread_mutex_lock(&pool->lock);
	pool->kind = kind;
	(void) pthread_mutex_unlock(&pool->lock);
	omb_credentials_wipe(&secrets);
	return err->status;
}

omb_status
omb_sftp_do(omb_sftp_pool *pool, omb_sftp_conn **conn, const char *path,
			omb_sftp_step step, void *arg, omb_error *err)
{
	bool again = false;
	omb_retry retry;

	omb_retry_begin(&retry, &pool->policy);
	for (;;)
	{
		bool passes = true;

		if (*conn == NULL)
			*conn = take_idle(pool, path);
		if (*conn == NULL)
			(void) connect_new(pool, conn, &passes, err);
		if (*conn != NULL)
		{
			omb_status status;

			passes = true;
			status = step(*conn, again, arg, err);

			if (!omb_sftp_is_lost(*conn))
				return status;
			again = true;
			omb_sftp_disconnect(*conn);
			*conn = NULL;
			drop_idle(pool);
		}
		if (!passes || !omb_retry_again(&retry, 0, err))
			return err->status;
	}
}

omb_status
omb_sftp_do_once(omb_sftp_pool *pool, omb_sftp_step step, void *arg,
				 omb_error *err)
{
	omb_sftp_conn *conn = NULL;

	(void) omb_sftp_do(pool, &conn, NULL, step, arg, err);
	omb_sftp_give(pool, conn);
	return err->status;
}

omb_status
omb_sftp_prove_absent(const omb_sftp_pool *pool, omb_sftp_conn *conn,
					  omb_error *err)
{
	omb_error absent = *err;
	omb_sftp_attributes found;

	omb_error_clear(err);
	if (omb_sftp_stat(conn, pool->root, &found, err) == OMB_NOT_FOUND)
	{
		(void) omb_error_set(err, OMB_FAILED,
							 "there is no directory \"%s\" at \"%s\"",
							 pool->root, pool->location);
		omb_error_hint(err, "Create it on the server. Where it was before, "
							"check that its file system is mounted.");
	}
	if (err->status == OMB_OK)
		*err = absent;
	return err->status;
}
