/*
 * sshhost.c: is this the server that is meant? Keys of hosts, and those that are
 * known.
 */
#include "store/sftp/ssh.h"

#include "base/base64.h"
#include "base/buffer.h"
#include "base/file.h"
#include "codec/crypto.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KNOWN_HOSTS_MAX ((size_t) 4 * 1024 * 1024)
/* "SHA256:" and 43 characters */
#define FINGERPRINT 64

/* Kinds of host keys, the best first; a kind is its number here + 1. */
typedef struct key_kind
{
	const char *methods; /* how it may sign */
	const char *name;
	int known_host; /* bits of libssh2 */
	int type;
} key_kind;

static const key_kind kinds[] = {
	{ "ssh-ed25519", "ED25519", LIBSSH2_KNOWNHOST_KEY_ED25519,
	  LIBSSH2_HOSTKEY_TYPE_ED25519 },
	{ "ecdsa-sha2-nistp256", "ECDSA", LIBSSH2_KNOWNHOST_KEY_ECDSA_256,
	  LIBSSH2_HOSTKEY_TYPE_ECDSA_256 },
	{ "ecdsa-sha2-nistp384", "ECDSA", LIBSSH2_KNOWNHOST_KEY_ECDSA_384,
	  LIBSSH2_HOSTKEY_TYPE_ECDSA_384 },
	{ "ecdsa-sha2-nistp521", "ECDSA", LIBSSH2_KNOWNHOST_KEY_ECDSA_521,
	  LIBSSH2_HOSTKEY_TYPE_ECDSA_521 },
	{ "rsa-sha2-512,rsa-sha2-256,ssh-rsa", "RSA", LIBSSH2_KNOWNHOST_KEY_SSHRSA,
	  LIBSSH2_HOSTKEY_TYPE_RSA },
};
#define KINDS ((int) (sizeof(kinds) / sizeof(kinds[0])))

typedef enum verdict
{
	KEY_KNOWN,
	KEY_NOT_KNOWN,
	KEY_CHANGED,
	KEY_REVOKED
} verdict;

/* As ssh-keygen shows it. */
static void
fingerprint(const char *hash, char out[FINGERPRINT])
{
	omb_buf text = OMB_BUF_INIT;

	omb_base64_put(&text, hash, OMB_SHA256_SIZE);
	/* without the "=" at its end */
	(void) snprintf(out, FINGERPRINT, "SHA256:%.43s", omb_buf_text(&text));
	omb_buf_free(&text);
}

/*
 * Add the lines of a file. What libssh2 cannot read, such as the keys of
 * authorities, makes no host known.
 */
static omb_status
read_known_hosts(LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked,
				 const char *path, bool required, omb_error *err)
{
	static const char mark[] = "@revoked ";
	omb_buf content = OMB_BUF_INIT;
	const char *line;
	omb_status status;

	status = omb_file_read(path, KNOWN_HOSTS_MAX, &content, err);
	if (status == OMB_NOT_FOUND && !required)
	{
		omb_error_clear(err);
		status = OMB_OK;
	}
	line = omb_buf_text(&content);
	while (status == OMB_OK && *line != '\0')
	{
		/* with its end, which libssh2 takes off even when it is not given */
		size_t len = strcspn(line, "\n") + 1;
		size_t skip =
			strncmp(line, mark, sizeof(mark) - 1) == 0 ? sizeof(mark) - 1 : 0;

		if (line[len - 1] == '\0')
			len--;
		if (skip > 0 || *line != '@')
			(void) libssh2_knownhost_readline(skip > 0 ? revoked : known,
											  line + skip, len - skip,
											  LIBSSH2_KNOWNHOST_FILE_OPENSSH);
		line += len;
	}
	omb_buf_free(&content);
	return status;
}

static omb_status
read_usual_hosts(LIBSSH2_KNOWNHOSTS *known, LIBSSH2_KNOWNHOSTS *revoked,
				 omb_error *err)
{
	struct passwd entry;
	struct passwd *found = NULL;
	char space[4096];
	char *path;

	if (getpwuid_r(geteuid(), &entry, space, sizeof(space), &found) == 0 &&
		found != NULL)
	{
		path = omb_format("%s/.ssh/known_hosts", entry.pw_dir);
		(void) read_known_hosts(known, revoked, path, false, err);
		free(path);
	}
	if (err->status == OMB_OK)
		(void) read_known_hosts(known, revoked, "/etc/ssh/ssh_known_hosts",
								false, err);
	return err->status;
}

static omb_status
look_up_key(omb_sftp_conn *conn, const key_kind *kind, verdict *out,
			omb_error *err)
{
	const omb_sftp_login *login = conn->login;
	LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(conn->session);
	LIBSSH2_KNOWNHOSTS *revoked = libssh2_knownhost_init(conn->session);
	int mask = LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW |
			   kind->known_host;
	size_t len = 0;
	const char *key = libssh2_session_hostkey(conn->session, &len, NULL);
	int port = (int) strtol(login->port, NULL, 10);

	if (known == NULL || revoked == NULL || key == NULL)
		(void) omb_error_set(err, OMB_FAILED, "could not start libssh2");
	else if (login->known_hosts != NULL)
		(void) read_known_hosts(known, revoked, login->known_hosts, true, err);
	else
		(void) read_usual_hosts(known, revoked, err);
	if (err->status == OMB_OK)
	{
		int rc = libssh2_knownhost_checkp(known, login->host, port, key, len,
										  mask, NULL);

		*out = rc == LIBSSH2_KNOWNHOST_CHECK_MATCH	  ? KEY_KNOWN :
			   rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH ? KEY_CHANGED :
														KEY_NOT_KNOWN;
		if (libssh2_knownhost_checkp(revoked, login->host, port, key, len,
									 mask,
									 NULL) == LIBSSH2_KNOWNHOST_CHECK_MATCH)
			*out = KEY_REVOKED;
	}
	if (known != NULL)
		libssh2_knownhost_free(known);
	if (revoked != NULL)
		libssh2_knownhost_free(revoked);
	return err->status;
}

/* Is a method in a list with commas? */
static bool
is_listed(const char *method, const char *list)
{
	size_t len = strlen(method);

	while (strncmp(list, method, len) != 0 ||
		   (list[len] != ',' && list[len] != '\0'))
	{
		list += strcspn(list, ",");
		if (*list == '\0')
			return false;
		list++;
	}
	return true;
}

/*
 * Ask for one kind of key, or for any when it is NULL, in the order of kinds.
 * Only for methods that libssh2 has: to leave out others it moves overlapping
 * memory (1.10).
 */
static int
choose_keys(const omb_sftp_conn *conn, const key_kind *wanted)
{
	omb_buf list = OMB_BUF_INIT;
	const char **known = NULL;
	int count = libssh2_session_supported_algs(conn->session,
											   LIBSSH2_METHOD_HOSTKEY, &known);
	int rc = LIBSSH2_ERROR_METHOD_NOT_SUPPORTED;
	int i, j;

	for (i = 0; i < KINDS; i++)
		for (j = 0; j < count; j++)
			if ((wanted == NULL || wanted == &kinds[i]) &&
				is_listed(known[j], kinds[i].methods))
				omb_buf_printf(&list, "%s%s", list.len > 0 ? "," : "",
							   known[j]);
	if (list.len > 0)
		rc = libssh2_session_method_pref(conn->session, LIBSSH2_METHOD_HOSTKEY,
										 omb_buf_text(&list));
	if (count > 0)
		libssh2_free(conn->session, known);
	omb_buf_free(&list);
	return rc;
}

/* The handshake, with one kind of key or any; which one it is. */
static omb_status
shake_hands(omb_sftp_conn *conn, const key_kind *wanted, const key_kind **kind,
			bool *passes, omb_error *err)
{
	int type = LIBSSH2_HOSTKEY_TYPE_UNKNOWN;
	int i;
	int rc;

	*passes = true;
	if (omb_ssh_open_socket(conn, err) != OMB_OK)
		return err->status;
	conn->session = libssh2_session_init_ex(NULL, NULL, NULL, conn);
	if (conn->session == NULL)
		return omb_error_set(err, OMB_FAILED, "could not start libssh2");
	libssh2_session_set_blocking(conn->session, 0);
	rc = choose_keys(conn, wanted);
	if (rc == 0)
		OMB_SSH_CALL(conn, rc,
					 libssh2_session_handshake(conn->session, conn->fd));
	*passes = rc != LIBSSH2_ERROR_KEX_FAILURE &&
			  rc != LIBSSH2_ERROR_METHOD_NOT_SUPPORTED &&
			  rc != LIBSSH2_ERROR_HOSTKEY_INIT &&
			  rc != LIBSSH2_ERROR_HOSTKEY_SIGN;
	if (rc != 0)
		return omb_ssh_explain_start(conn, rc, err);
	(void) libssh2_session_hostkey(conn->session, &(size_t){ 0 }, &type);
	for (i = 0; i < KINDS; i++)
	{
		if (kinds[i].type != type)
			continue;
		*kind = &kinds[i];
		return OMB_OK;
	}
	*passes = false;
	return omb_error_set(err, OMB_UNSUPPORTED,
						 "server \"%s\" has a kind of host key that is not "
						 "supported",
						 conn->server);
}

/* Whose key is it? */
static omb_status
check_key(omb_sftp_conn *conn, const key_kind *kind, verdict *out,
		  omb_buf *seen, char shown[FINGERPRINT], omb_error *err)
{
	const char *expected = conn->login->host_key;
	const char *hash =
		libssh2_hostkey_hash(conn->session, LIBSSH2_HOSTKEY_HASH_SHA256);

	if (hash == NULL)
		return omb_error_set(err, OMB_FAILED, "could not hash a host key");
	fingerprint(hash, shown);
	omb_buf_printf(seen, "%s%s %s", seen->len > 0 ? ", " : "", kind->name,
				   shown);
	if (expected == NULL)
		return look_up_key(conn, kind, out, err);
	*out = strncmp(expected, shown, strlen(shown)) == 0 &&
				   strspn(expected + strlen(shown), "=") ==
					   strlen(expected + strlen(shown)) ?
			   KEY_KNOWN :
			   KEY_CHANGED;
	return OMB_OK;
}

/* No key of the host was one that is known. */
static omb_status
refuse_host(const omb_sftp_conn *conn, verdict v, omb_buf *seen,
			const char *shown, omb_error *err)
{
	bool pinned = conn->login->host_key != NULL;

	switch (v)
	{
		case KEY_REVOKED:
			(void) omb_error_set(err, OMB_REFUSED,
								 "the key of server \"%s\" was revoked",
								 conn->server);
			break;
		case KEY_CHANGED:
			(void) omb_error_set(err, OMB_REFUSED,
								 "the key of server \"%s\" is not the one "
								 "that is known",
								 conn->server);
			break;
		default:
			(void) omb_error_set(err, OMB_REFUSED,
								 "the key of server \"%s\" is not known",
								 conn->server);
	}
	omb_error_detail(err, "The server shows: %s.", omb_buf_text(seen));
	if (v == KEY_NOT_KNOWN)
		omb_error_hint(err,
					   "Ask the server's administrator for the fingerprint. "
					   "If it is this one, add \"host-key=%s\" to the URL, or "
					   "the key to the file of known hosts.",
					   shown);
	else
		omb_error_hint(err,
					   "Either the server got a new key, or somebody else "
					   "answers in its place. Ask the server's administrator "
					   "for the fingerprint before you change %s.",
					   pinned ? "\"host-key\" in the URL" :
								"the file of known hosts");
	return err->status;
}

/*
 * A server has several keys, of which one is known: let it choose first, then
 * ask for each kind. Which one it was is remembered.
 */
omb_status
omb_ssh_reach_host(const omb_sftp_login *login, int *kind_known,
				   omb_sftp_conn **out, bool *passes, omb_error *err)
{
	char shown[FINGERPRINT] = "";
	omb_buf seen = OMB_BUF_INIT;
	const key_kind *first = NULL;
	verdict worst = KEY_NOT_KNOWN;
	omb_sftp_conn *conn = NULL;
	int i;

	*out = NULL;
	for (i = *kind_known > 0 ? *kind_known : 0; i <= KINDS; i++)
	{
		const key_kind *kind = NULL;
		char print[FINGERPRINT];
		verdict v = KEY_NOT_KNOWN;

		if (i > 0 && &kinds[i - 1] == first)
			continue;
		conn = omb_ssh_new(login);
		if (shake_hands(conn, i > 0 ? &kinds[i - 1] : NULL, &kind, passes,
						err) != OMB_OK)
		{
			/* it may have no such key */
			if (*passes || (first == NULL && *kind_known == 0))
				break;
			omb_error_clear(err);
		}
		else if (check_key(conn, kind, &v, &seen, print, err) != OMB_OK)
		{
			*passes = false;
			break;
		}
		else if (v == KEY_KNOWN)
		{
			*kind_known = (int) (kind - kinds) + 1;
			*out = conn;
			break;
		}
		else if (first == NULL)
		{
			first = kind;
			memcpy(shown, print, sizeof(shown));
		}
		if (v > worst)
			worst = v;
		omb_sftp_disconnect(conn);
		conn = NULL;
		if (*kind_known > 0)
		{
			/* it was known: try all again */
			*kind_known = 0;
			first = NULL;
			omb_buf_clear(&seen);
			i = -1;
		}
	}
	if (*out == NULL && err->status == OMB_OK)
	{
		omb_sftp_conn *nobody = omb_ssh_new(login);

		*passes = false;
		(void) refuse_host(nobody, worst, &seen, shown, err);
		omb_sftp_disconnect(nobody);
	}
	if (*out == NULL)
		omb_sftp_disconnect(conn);
	omb_buf_free(&seen);
	return err->status;
}
