/*
 * shadowshim.c: preloaded into an SSH server that is not root's and cannot read
 * the passwords of the system: every user has the one that the environment
 * names in OMB_SFTP_PASSWORD_HASH.
 */
#include <shadow.h>
#include <stddef.h>
#include <stdlib.h>

extern struct spwd *getspnam(const char *name);

struct spwd *
getspnam(const char *name)
{
	static struct spwd entry;
	static char user[] = "user";
	char *hash = getenv("OMB_SFTP_PASSWORD_HASH");

	if (hash == NULL)
		return NULL;
	entry.sp_namp = user;
	entry.sp_pwdp = hash;
	entry.sp_lstchg = 1; /* 0 would be expired */
	entry.sp_max = -1;
	entry.sp_expire = -1;
	entry.sp_inact = -1;
	return &entry;
}
