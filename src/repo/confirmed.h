/*
 * confirmed.h: did somebody prove to have the recovery code?
 *
 * The object marks/recovery-code-confirmed, a sealed stream of kind 'K' with
 * text: confirmed_at. That it is there is what counts.
 */
#ifndef OMB_REPO_CONFIRMED_H
#define OMB_REPO_CONFIRMED_H

#include "repo/repository.h"

/* Is it confirmed? */
extern omb_status omb_confirmed_read(omb_repository *repo, bool *confirmed,
									 omb_error *err);

/*
 * Open the repository at location with a recovery code as typed, and note
 * that this went well. OMB_USAGE for a typing error, OMB_WRONG_KEY for
 * another code, OMB_REFUSED for a repository that is not encrypted. Doing it
 * again is fine.
 */
extern omb_status omb_confirmed_put(const char *location, const char *code,
									omb_error *err);

#endif
