/*
 * pin.h: backups that no retention rule may remove.
 *
 * A pin is the object marks/pins/<backup id>, a sealed stream of kind 'K' with
 * text: backup, reason, pinned_at. That it is there is what counts: a pin
 * that is damaged holds all the same.
 */
#ifndef OMB_REPO_PIN_H
#define OMB_REPO_PIN_H

#include "repo/manifest.h"

#define OMB_PIN_REASON_MAX 1000

typedef struct omb_pin
{
	bool pinned;
	char *reason; /* "" when none was given, or when it cannot be read */
	int64_t pinned_at;
} omb_pin;

extern void omb_pin_clear(omb_pin *pin);

/*
 * Pin a backup. OMB_NOT_FOUND when there is no such backup, OMB_EXISTS when
 * it is pinned, OMB_BUSY when backups are being removed.
 */
extern omb_status omb_pin_put(omb_repository *repo, const char *backup,
							  const char *reason, omb_error *err);
/* Undo that; OMB_NOT_FOUND when it is not pinned. */
extern omb_status omb_pin_remove(omb_repository *repo, const char *backup,
								 omb_error *err);
/* Is a backup pinned, and why? */
extern omb_status omb_pin_read(omb_repository *repo, const char *backup,
							   omb_pin *pin, omb_error *err);

#endif
