/*
 * sshlogin.c: logging in with a private key or a password.
 */
#include "store/sftp/ssh.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

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
	unsigned int len = omb_ssh_length(login->user);
	int rc = LIBSSH2_ERROR_METHOD_NONE;

	if (login->key_file != NULL && strstr(methods, "publickey") != NULL)
		OMB_SSH_CALL(conn, rc,
					 libssh2_userauth_publickey_fromfile_ex(
						 conn->session, login->user, len, NULL,
						 login->key_file,
						 login->passphrase != NULL ? login->passphrase : ""));
	if (rc == 0 || login->password == NULL || rc == LIBSSH2_ERROR_EAGAIN)
		return rc;
	if (strstr(methods, "password") != NULL)
		OMB_SSH_CALL(conn, rc,
					 libssh2_userauth_password_ex(
						 conn->session, login->user, len, login->password,
						 omb_ssh_length(login->password), NULL));
	if (rc != 0 && rc != LIBSSH2_ERROR_EAGAIN &&
		strstr(methods, "keyboard-interactive") != NULL)
		OMB_SSH_CALL(conn, rc,
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
							 login->key_file, omb_ssh_reason(conn));
		omb_error_hint(err, "Check the file, and its passphrase in the "
							"credentials file.");
		return err->status;
	}
	(void) omb_error_set(err, OMB_FAILED,
						 "server \"%s\" did not let in user \"%s\"",
						 conn->server, login->user);
	omb_error_detail(err,
					 "The server asks for %s; the last try ended with: %s.",
					 methods, omb_ssh_reason(conn));
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

omb_status
omb_ssh_log_in(omb_sftp_conn *conn, bool *passes, omb_error *err)
{
	const omb_sftp_login *login = conn->login;
	char *methods;
	int rc;

	*passes = true;
	OMB_SSH_CALL_POINTER(conn, methods,
						 libssh2_userauth_list(conn->session, login->user,
											   omb_ssh_length(login->user)));
	if (methods == NULL && !libssh2_userauth_authenticated(conn->session))
		return omb_ssh_explain_start(
			conn, libssh2_session_last_errno(conn->session), err);
	if (methods != NULL)
	{
		/* libssh2 uses its memory again */
		methods = omb_strdup(methods);
		rc = authenticate(conn, methods);
		/* what it returns does not tell a refusal from a lost connection */
		*passes = rc == LIBSSH2_ERROR_EAGAIN || !omb_sftp_is_alive(conn);
		if (rc != 0)
			(void) (*passes ? omb_ssh_explain_start(conn, rc, err) :
							  refuse_login(conn, rc, methods, err));
		free(methods);
		if (rc != 0)
			return err->status;
	}
	OMB_SSH_CALL_POINTER(conn, conn->sftp, libssh2_sftp_init(conn->session));
	if (conn->sftp != NULL)
		return OMB_OK;
	rc = libssh2_session_last_errno(conn->session);
	*passes = rc != LIBSSH2_ERROR_CHANNEL_FAILURE &&
			  rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED;
	(void) omb_ssh_explain_start(conn, rc, err);
	/* a shell that ends at once looks like a server that says nothing */
	if (!*passes || rc == LIBSSH2_ERROR_EAGAIN)
		omb_error_hint(err, "Check that SFTP is allowed for user \"%s\".",
					   login->user);
	return err->status;
}
