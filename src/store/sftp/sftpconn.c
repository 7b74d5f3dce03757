/*
 * sftpconn.c: one connection to an SFTP server, over libssh2, which no other
 * file knows.
 *
 * libssh2 is used without blocking, so that the time without a byte can be
 * limited: each call is repeated as long as the socket becomes ready.
 */
#include "store/sftp/sftpconn.h"

#include "base/base64.h"
#include "base/buffer.h"
#include "base/file.h"
#include "codec/crypto.h"

#include <libssh2.h>
#include <libssh2_sftp.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KNOWN_HOSTS_MAX ((size_t) 4 * 1024 * 1024)
#define NAME_MAX_LEN 1024
/* "SHA256:" and 43 characters */
#define FINGERPRINT 64
/* A file system with less free space is full. */
#define LITTLE_SPACE (UINT64_C(1024) * 1024)

struct omb_sftp_conn
{
	const omb_sftp_login *login; /* only while logging in */
	char *server;				 /* for messages */
	int fd;
	LIBSSH2_SESSION *session;
	LIBSSH2_SFTP *sftp;
	LIBSSH2_SFTP_HANDLE *file;
	char *path;		 /* of the open file */
	uint64_t offset; /* where libssh2 goes on in it */
	uint32_t stall_seconds;
	bool lost;
	bool renames_safely;
	bool cannot_sync;
	bool cannot_sync_folders;
};

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

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
initialise(void)
{
	(void) libssh2_init(0);
}

/* As libssh2 wants it. */
static unsigned int
length(const char *text)
{
	return (unsigned int) strlen(text);
}

/* ---- waiting and failing ---- */

/* Wait until libssh2 can go on; false when the time is over. */
static bool
await(const omb_sftp_conn *conn)
{
	int directions = libssh2_session_block_directions(conn->session);
	struct pollfd p = { .fd = conn->fd, .events = POLLIN };
	int rc;

	if ((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0)
		p.events = (directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 ?
					   POLLIN | POLLOUT :
					   POLLOUT;
	do
		rc = poll(&p, 1, (int) conn->stall_seconds * 1000);
	while (rc < 0 && errno == EINTR);
	return rc > 0;
}

/* Afterwards the result is LIBSSH2_ERROR_EAGAIN when the time was over. */
#define CALL(conn, result, call) \
	do                           \
		(result) = (call);       \
	while ((result) == LIBSSH2_ERROR_EAGAIN && await(conn))

/* The same where NULL is a failure. */
#define CALL_POINTER(conn, result, call)                  \
	do                                                    \
		(result) = (call);                                \
	while ((result) == NULL &&                            \
		   libssh2_session_last_errno((conn)->session) == \
			   LIBSSH2_ERROR_EAGAIN &&                    \
		   await(conn))

static const char *
reason(const omb_sftp_conn *conn)
{
	char *text = NULL;

	(void) libssh2_session_last_error(conn->session, &text, NULL, 0);
	return text != NULL && *text != '\0' ? text : "no reason given";
}

/* A call for a path failed with rc. */
static omb_status
explain(omb_sftp_conn *conn, long rc, const char *action, const char *path,
		omb_error *err)
{
	static const struct
	{
		unsigned long code;
		omb_status status;
		const char *text;
	} answers[] = {
		{ LIBSSH2_FX_NO_SUCH_FILE, OMB_NOT_FOUND, "no such file" },
		{ LIBSSH2_FX_NO_SUCH_PATH, OMB_NOT_FOUND, "no such path" },
		{ LIBSSH2_FX_PERMISSION_DENIED, OMB_FAILED, "permission denied" },
		{ LIBSSH2_FX_OP_UNSUPPORTED, OMB_UNSUPPORTED, "not supported" },
		/* how OpenSSH says EINVAL */
		{ LIBSSH2_FX_BAD_MESSAGE, OMB_UNSUPPORTED, "not possible" },
		{ LIBSSH2_FX_FILE_ALREADY_EXISTS, OMB_EXISTS, "exists already" },
		{ LIBSSH2_FX_WRITE_PROTECT, OMB_FAILED, "write protected" },
		{ LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM, OMB_NO_SPACE, "no space left" },
		{ LIBSSH2_FX_QUOTA_EXCEEDED, OMB_NO_SPACE, "quota exceeded" },
	};
	unsigned long code = 0;
	size_t i;

	if (rc == LIBSSH2_ERROR_EAGAIN)
	{
		conn->lost = true;
		return omb_error_set(err, OMB_FAILED,
							 "server \"%s\" did not answer in time",
							 conn->server);
	}
	if (rc == LIBSSH2_ERROR_SFTP_PROTOCOL && conn->sftp != NULL)
		code = libssh2_sftp_last_error(conn->sftp);
	if (code == LIBSSH2_FX_OK || code == LIBSSH2_FX_NO_CONNECTION ||
		code == LIBSSH2_FX_CONNECTION_LOST)
	{
		conn->lost = true;
		return omb_error_set(err, OMB_FAILED,
							 "lost the connection to server \"%s\": %s",
							 conn->server, reason(conn));
	}
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].code == code)
			break;
	if (i < sizeof(answers) / sizeof(answers[0]))
		(void) omb_error_set(err, answers[i].status,
							 "could not %s \"%s\" on server \"%s\": %s",
							 action, path, conn->server, answers[i].text);
	else
		(void) omb_error_set(err, OMB_FAILED,
							 "could not %s \"%s\" on server \"%s\": server "
							 "answered %lu",
							 action, path, conn->server, code);
	if (code == LIBSSH2_FX_PERMISSION_DENIED ||
		code == LIBSSH2_FX_WRITE_PROTECT)
		omb_error_hint(err, "Check the owner and the permissions of the "
							"directory on the server.");
	return err->status;
}

/* ---- connecting ---- */

/* A connected socket, or -1 with errno. */
static int
connect_address(const struct addrinfo *to, uint32_t seconds)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
					to->ai_protocol);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);
	int on = 1;
	int rc;

	if (fd < 0)
		return -1;
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
	{
		error = errno;
		if (error == EINPROGRESS)
		{
			do
				rc = poll(&p, 1, (int) seconds * 1000);
			while (rc < 0 && errno == EINTR);
			if (rc == 0)
				error = ETIMEDOUT;
			else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
				error = errno;
		}
	}
	if (error != 0)
	{
		(void) close(fd);
		errno = error;
		return -1;
	}
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	return fd;
}

static omb_status
open_socket(omb_sftp_conn *conn, omb_error *err)
{
	const omb_sftp_login *login = conn->login;
	struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	const struct addrinfo *a;
	int rc = getaddrinfo(login->host, login->port, &wanted, &found);

	if (rc != 0)
	{
		(void) omb_error_set(err, OMB_FAILED,
							 "could not find the address of server \"%s\": %s",
							 conn->server, gai_strerror(rc));
		omb_error_hint(err, "Check the name, and that this machine reaches "
							"the network and its DNS server.");
		return err->status;
	}
	for (a = found; a != NULL && conn->fd < 0; a = a->ai_next)
		conn->fd = connect_address(a, login->connect_seconds);
	if (conn->fd < 0)
		(void) omb_error_set_errno(
			err, errno, "could not connect to server \"%s\"", conn->server);
	freeaddrinfo(found);
	return err->status;
}

/* What went wrong before there was a session to speak of. */
static omb_status
explain_start(omb_sftp_conn *conn, int rc, omb_error *err)
{
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return explain(conn, rc, "", "", err);
	return omb_error_set(err, OMB_FAILED,
						 "could not start SSH with server \"%s\": %s",
						 conn->server, reason(conn));
}

/* ---- the key of the host ---- */

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
	if (open_socket(conn, err) != OMB_OK)
		return err->status;
	conn->session = libssh2_session_init_ex(NULL, NULL, NULL, conn);
	if (conn->session == NULL)
		return omb_error_set(err, OMB_FAILED, "could not start libssh2");
	libssh2_session_set_blocking(conn->session, 0);
	rc = choose_keys(conn, wanted);
	if (rc == 0)
		CALL(conn, rc, libssh2_session_handshake(conn->session, conn->fd));
	*passes = rc != LIBSSH2_ERROR_KEX_FAILURE &&
			  rc != LIBSSH2_ERROR_METHOD_NOT_SUPPORTED &&
			  rc != LIBSSH2_ERROR_HOSTKEY_INIT &&
			  rc != LIBSSH2_ERROR_HOSTKEY_SIGN;
	if (rc != 0)
		return explain_start(conn, rc, err);
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

/* ---- logging in ---- */

static void
answer_prompts(const char *name, int name_len, const char *instruction,
			   int instruction_len, int count,
			   const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts,
			   LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses, void **abstract)
{
	const omb_sftp_conn *conn = *abstract;
	int i;

	for (i = 0; i < count; i++)
	{
		/* libssh2 frees it */
		responses[i].text = omb_strdup(conn->login->password);
		responses[i].length = (unsigned int) strlen(responses[i].text);
	}
}

/* Try what there is, as far as the server wants it. */
static int
authenticate(omb_sftp_conn *conn, const char *methods)
{
	const omb_sftp_login *login = conn->login;
	unsigned int len = length(login->user);
	int rc = LIBSSH2_ERROR_METHOD_NONE;

	if (login->key_file != NULL && strstr(methods, "publickey") != NULL)
		CALL(conn, rc,
			 libssh2_userauth_publickey_fromfile_ex(
				 conn->session, login->user, len, NULL, login->key_file,
				 login->passphrase != NULL ? login->passphrase : ""));
	if (rc == 0 || login->password == NULL || rc == LIBSSH2_ERROR_EAGAIN)
		return rc;
	if (strstr(methods, "password") != NULL)
		CALL(conn, rc,
			 libssh2_userauth_password_ex(conn->session, login->user, len,
										  login->password,
										  length(login->password), NULL));
	if (rc != 0 && rc != LIBSSH2_ERROR_EAGAIN &&
		strstr(methods, "keyboard-interactive") != NULL)
		CALL(conn, rc,
			 libssh2_userauth_keyboard_interactive_ex(
				 conn->session, login->user, len, answer_prompts));
	return rc;
}

static omb_status
refuse_login(const omb_sftp_conn *conn, int rc, const char *methods,
			 omb_error *err)
{
	const omb_sftp_login *login = conn->login;

	if (rc == LIBSSH2_ERROR_FILE || rc == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED)
	{
		(void) omb_error_set(err, OMB_FAILED,
							 "could not use private key file \"%s\": %s",
							 login->key_file, reason(conn));
		omb_error_hint(err, "Check the file, and its passphrase in the "
							"credentials file.");
		return err->status;
	}
	(void) omb_error_set(err, OMB_FAILED,
						 "server \"%s\" did not let in user \"%s\"",
						 conn->server, login->user);
	omb_error_detail(err,
					 "The server asks for %s; the last try ended with: %s.",
					 methods, reason(conn));
	if (login->key_file != NULL)
		omb_error_hint(err, "Check the user's name, and that the public key "
							"is in the user's authorized keys on the server. "
							"Servers no longer accept RSA keys in the old "
							"way: use an ED25519 key.");
	else
		omb_error_hint(err, "Check the user's name and the password in the "
							"credentials file.");
	return err->status;
}

static omb_status
log_in(omb_sftp_conn *conn, bool *passes, omb_error *err)
{
	const omb_sftp_login *login = conn->login;
	char *methods;
	int rc;

	*passes = true;
	CALL_POINTER(conn, methods,
				 libssh2_userauth_list(conn->session, login->user,
									   length(login->user)));
	if (methods == NULL && !libssh2_userauth_authenticated(conn->session))
		return explain_start(conn, libssh2_session_last_errno(conn->session),
							 err);
	if (methods != NULL)
	{
		/* libssh2 uses its memory again */
		methods = omb_strdup(methods);
		rc = authenticate(conn, methods);
		/* what it returns does not tell a refusal from a lost connection */
		*passes = rc == LIBSSH2_ERROR_EAGAIN || !omb_sftp_is_alive(conn);
		if (rc != 0)
			(void) (*passes ? explain_start(conn, rc, err) :
							  refuse_login(conn, rc, methods, err));
		free(methods);
		if (rc != 0)
			return err->status;
	}
	CALL_POINTER(conn, conn->sftp, libssh2_sftp_init(conn->session));
	if (conn->sftp != NULL)
		return OMB_OK;
	rc = libssh2_session_last_errno(conn->session);
	*passes = rc != LIBSSH2_ERROR_CHANNEL_FAILURE &&
			  rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED;
	(void) explain_start(conn, rc, err);
	/* a shell that ends at once looks like a server that says nothing */
	if (!*passes || rc == LIBSSH2_ERROR_EAGAIN)
		omb_error_hint(err, "Check that SFTP is allowed for user \"%s\".",
					   login->user);
	return err->status;
}

static omb_sftp_conn *
new_conn(const omb_sftp_login *login)
{
	omb_sftp_conn *conn = omb_calloc(1, sizeof(*conn));

	conn->login = login;
	conn->server = strcmp(login->port, "22") == 0 ?
					   omb_strdup(login->host) :
					   omb_format("%s:%s", login->host, login->port);
	conn->fd = -1;
	conn->stall_seconds = login->stall_seconds;
	return conn;
}

/*
 * A server has several keys, of which one is known: let it choose first, then
 * ask for each kind. Which one it was is remembered.
 */
omb_status
omb_sftp_connect(const omb_sftp_login *login, int *kind_known,
				 omb_sftp_conn **out, bool *passes, omb_error *err)
{
	char shown[FINGERPRINT] = "";
	omb_buf seen = OMB_BUF_INIT;
	const key_kind *first = NULL;
	verdict worst = KEY_NOT_KNOWN;
	omb_sftp_conn *conn = NULL;
	int i;

	(void) pthread_once(&once, initialise);
	*out = NULL;
	for (i = *kind_known > 0 ? *kind_known : 0; i <= KINDS; i++)
	{
		const key_kind *kind = NULL;
		char print[FINGERPRINT];
		verdict v = KEY_NOT_KNOWN;

		if (i > 0 && &kinds[i - 1] == first)
			continue;
		conn = new_conn(login);
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
			*out = log_in(conn, passes, err) == OMB_OK ? conn : NULL;
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
		omb_sftp_conn *nobody = new_conn(login);

		*passes = false;
		(void) refuse_host(nobody, worst, &seen, shown, err);
		omb_sftp_disconnect(nobody);
	}
	if (*out != NULL)
	{
		const char *banner = libssh2_session_banner_get(conn->session);

		conn->login = NULL;
		conn->renames_safely =
			banner != NULL && strstr(banner, "-OpenSSH_") != NULL;
	}
	else
		omb_sftp_disconnect(conn);
	omb_buf_free(&seen);
	return err->status;
}

void
omb_sftp_disconnect(omb_sftp_conn *conn)
{
	int i;

	if (conn == NULL)
		return;
	if (conn->session != NULL && !conn->lost && conn->sftp != NULL)
	{
		/* say good-bye, but do not wait for long */
		libssh2_session_set_blocking(conn->session, 1);
		libssh2_session_set_timeout(conn->session, 1000);
		if (conn->file != NULL && libssh2_sftp_close(conn->file) == 0)
			conn->file = NULL;
		(void) libssh2_session_disconnect(conn->session, "done");
		libssh2_session_set_blocking(conn->session, 0);
	}
	if (conn->fd >= 0)
		(void) shutdown(conn->fd, SHUT_RDWR);
	/* with the socket shut down none of these waits for long */
	for (i = 0; i < 10 && conn->file != NULL; i++)
		if (libssh2_sftp_close(conn->file) != LIBSSH2_ERROR_EAGAIN)
			conn->file = NULL;
	for (i = 0; i < 10 && conn->sftp != NULL; i++)
		if (libssh2_sftp_shutdown(conn->sftp) != LIBSSH2_ERROR_EAGAIN)
			conn->sftp = NULL;
	for (i = 0; i < 10 && conn->session != NULL; i++)
		if (libssh2_session_free(conn->session) != LIBSSH2_ERROR_EAGAIN)
			conn->session = NULL;
	if (conn->fd >= 0)
		(void) close(conn->fd);
	free(conn->server);
	free(conn->path);
	free(conn);
}

bool
omb_sftp_is_lost(const omb_sftp_conn *conn)
{
	return conn->lost;
}

bool
omb_sftp_is_alive(const omb_sftp_conn *conn)
{
	char byte;
	ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return !conn->lost && (n > 0 || (n < 0 && errno == EAGAIN));
}

bool
omb_sftp_renames_safely(const omb_sftp_conn *conn)
{
	return conn->renames_safely;
}

/* ---- names ---- */

static void
convert(const LIBSSH2_SFTP_ATTRIBUTES *from, omb_sftp_attributes *to)
{
	unsigned long type = from->permissions & LIBSSH2_SFTP_S_IFMT;
	bool known = (from->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) != 0;

	memset(to, 0, sizeof(*to));
	to->is_folder = known && type == LIBSSH2_SFTP_S_IFDIR;
	to->is_file = !known || type == LIBSSH2_SFTP_S_IFREG || type == 0;
	if ((from->flags & LIBSSH2_SFTP_ATTR_SIZE) != 0)
		to->size = from->filesize;
	if ((from->flags & LIBSSH2_SFTP_ATTR_ACMODTIME) != 0)
		to->changed = (int64_t) from->mtime;
}

omb_status
omb_sftp_stat(omb_sftp_conn *conn, const char *path, omb_sftp_attributes *out,
			  omb_error *err)
{
	LIBSSH2_SFTP_ATTRIBUTES attributes;
	int rc;

	memset(&attributes, 0, sizeof(attributes));
	CALL(conn, rc,
		 libssh2_sftp_stat_ex(conn->sftp, path, length(path),
							  LIBSSH2_SFTP_STAT, &attributes));
	if (rc != 0)
		return explain(conn, rc, "look at", path, err);
	convert(&attributes, out);
	return OMB_OK;
}

omb_status
omb_sftp_list(omb_sftp_conn *conn, const char *path, omb_sftp_visit visit,
			  void *arg, omb_error *err)
{
	LIBSSH2_SFTP_HANDLE *folder;
	char name[NAME_MAX_LEN];
	int rc = 0;

	CALL_POINTER(conn, folder,
				 libssh2_sftp_open_ex(conn->sftp, path, length(path), 0, 0,
									  LIBSSH2_SFTP_OPENDIR));
	if (folder == NULL)
		return explain(conn, libssh2_session_last_errno(conn->session),
					   "list directory", path, err);
	while (err->status == OMB_OK)
	{
		LIBSSH2_SFTP_ATTRIBUTES attributes;
		omb_sftp_attributes found;

		memset(&attributes, 0, sizeof(attributes));
		CALL(
			conn, rc,
			libssh2_sftp_readdir(folder, name, sizeof(name) - 1, &attributes));
		if (rc < 0)
			(void) explain(conn, rc, "list directory", path, err);
		if (rc <= 0)
			break;
		name[rc] = '\0';
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		convert(&attributes, &found);
		(void) visit(name, &found, arg, err);
	}
	if (conn->lost)
		(void) shutdown(conn->fd, SHUT_RDWR);
	CALL(conn, rc, libssh2_sftp_closedir(folder));
	if (rc != 0 && err->status == OMB_OK)
		(void) explain(conn, rc, "close directory", path, err);
	return err->status;
}

omb_status
omb_sftp_rename(omb_sftp_conn *conn, const char *from, const char *to,
				omb_error *err)
{
	int rc;

	CALL(conn, rc,
		 libssh2_sftp_rename_ex(conn->sftp, from, length(from), to, length(to),
								0));
	return rc == 0 ? OMB_OK : explain(conn, rc, "rename a file to", to, err);
}

omb_status
omb_sftp_unlink(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	CALL(conn, rc, libssh2_sftp_unlink_ex(conn->sftp, path, length(path)));
	return rc == 0 ? OMB_OK : explain(conn, rc, "remove", path, err);
}

omb_status
omb_sftp_mkdir(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	CALL(conn, rc,
		 libssh2_sftp_mkdir_ex(conn->sftp, path, length(path), 0700));
	return rc == 0 ? OMB_OK : explain(conn, rc, "create directory", path, err);
}

omb_status
omb_sftp_rmdir(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	int rc;

	CALL(conn, rc, libssh2_sftp_rmdir_ex(conn->sftp, path, length(path)));
	return rc == 0 ? OMB_OK : explain(conn, rc, "remove directory", path, err);
}

bool
omb_sftp_is_full(omb_sftp_conn *conn, const char *path)
{
	LIBSSH2_SFTP_STATVFS fs;
	int rc;

	memset(&fs, 0, sizeof(fs));
	CALL(conn, rc, libssh2_sftp_statvfs(conn->sftp, path, strlen(path), &fs));
	return rc == 0 && fs.f_blocks > 0 &&
		   (fs.f_bavail == 0 || fs.f_bavail < LITTLE_SPACE / fs.f_frsize);
}

/* ---- the open file ---- */

omb_status
omb_sftp_open(omb_sftp_conn *conn, const char *path, omb_sftp_mode mode,
			  omb_sftp_attributes *attributes, omb_error *err)
{
	unsigned long flags =
		mode == OMB_SFTP_READ	? LIBSSH2_FXF_READ :
		mode == OMB_SFTP_CREATE ? LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT |
									  LIBSSH2_FXF_EXCL :
								  LIBSSH2_FXF_READ | LIBSSH2_FXF_WRITE;
	LIBSSH2_SFTP_ATTRIBUTES found;
	int rc;

	if (omb_sftp_close(conn, err) != OMB_OK)
		return err->status;
	CALL_POINTER(conn, conn->file,
				 libssh2_sftp_open_ex(conn->sftp, path, length(path), flags,
									  0600, LIBSSH2_SFTP_OPENFILE));
	if (conn->file == NULL)
		return explain(conn, libssh2_session_last_errno(conn->session),
					   mode == OMB_SFTP_CREATE ? "create file" : "open file",
					   path, err);
	conn->path = omb_strdup(path);
	conn->offset = 0;
	if (attributes == NULL)
		return OMB_OK;
	memset(&found, 0, sizeof(found));
	CALL(conn, rc, libssh2_sftp_fstat(conn->file, &found));
	if (rc != 0)
		return explain(conn, rc, "look at", path, err);
	convert(&found, attributes);
	return OMB_OK;
}

const char *
omb_sftp_opened(const omb_sftp_conn *conn)
{
	return conn->file != NULL ? conn->path : NULL;
}

/* What was sent or asked for elsewhere is forgotten. */
static void
go_to(omb_sftp_conn *conn, uint64_t offset)
{
	if (conn->offset != offset)
		libssh2_sftp_seek64(conn->file, offset);
	conn->offset = offset;
}

omb_status
omb_sftp_read(omb_sftp_conn *conn, uint64_t offset, void *data, size_t len,
			  size_t *read, omb_error *err)
{
	ssize_t n;

	go_to(conn, offset);
	CALL(conn, n, libssh2_sftp_read(conn->file, data, len));
	if (n < 0)
		return explain(conn, n, "read file", conn->path, err);
	if (n == 0)
		return omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" on server \"%s\" ends too early",
							 conn->path, conn->server);
	conn->offset += (uint64_t) n;
	*read = (size_t) n;
	return OMB_OK;
}

omb_status
omb_sftp_write(omb_sftp_conn *conn, uint64_t offset, const void *data,
			   size_t len, size_t *written, omb_error *err)
{
	ssize_t n;

	go_to(conn, offset);
	do
		CALL(conn, n, libssh2_sftp_write(conn->file, data, len));
	while (n == 0 && await(conn));
	if (n <= 0)
		return explain(conn, n < 0 ? n : LIBSSH2_ERROR_EAGAIN, "write file",
					   conn->path, err);
	conn->offset += (uint64_t) n;
	*written = (size_t) n;
	return OMB_OK;
}

omb_status
omb_sftp_sync(omb_sftp_conn *conn, omb_error *err)
{
	int rc;

	if (conn->cannot_sync)
		return OMB_OK;
	CALL(conn, rc, libssh2_sftp_fsync(conn->file));
	if (rc == 0)
		return OMB_OK;
	if (explain(conn, rc, "sync", conn->path, err) != OMB_UNSUPPORTED)
		return err->status;
	omb_error_clear(err);
	conn->cannot_sync = true;
	return OMB_OK;
}

omb_status
omb_sftp_close(omb_sftp_conn *conn, omb_error *err)
{
	int rc;

	if (conn->file == NULL)
		return OMB_OK;
	CALL(conn, rc, libssh2_sftp_close(conn->file));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return explain(conn, rc, "close file", conn->path, err);
	conn->file = NULL;
	if (rc != 0)
		(void) explain(conn, rc, "close file", conn->path, err);
	free(conn->path);
	conn->path = NULL;
	return err->status;
}

omb_status
omb_sftp_sync_folder(omb_sftp_conn *conn, const char *path, omb_error *err)
{
	if (conn->cannot_sync || conn->cannot_sync_folders)
		return OMB_OK;
	/* what OpenSSH allows, and few others do */
	if (omb_sftp_open(conn, path, OMB_SFTP_READ, NULL, err) != OMB_OK)
	{
		if (conn->lost || err->status == OMB_NOT_FOUND)
			return err->status;
		omb_error_clear(err);
		conn->cannot_sync_folders = true;
		return OMB_OK;
	}
	if (omb_sftp_sync(conn, err) != OMB_OK)
		return err->status;
	return omb_sftp_close(conn, err);
}
