/*
 * claim.h: which data directory a repository belongs to (the fence).
 *
 * The data directory has a file omsupply_backup.instance, never part of a
 * backup, with the id of this one copy of the cluster and three marks of the
 * place where it was made, text of base/fields.h:
 *
 *   format=1
 *   instance=<16 bytes in hex>
 *   inode=<inode of this very file>
 *   pgdata=<real path of the data directory>
 *   machine=<content of /etc/machine-id, or empty>
 *
 * A copy of the directory, by whatever tool, differs in one of them and so
 * has no valid instance; neither has a restored one.
 *
 * The repository has numbered claims marks/claims/<8 digits>, sealed streams
 * of kind 'K' with text: instance, system_identifier, pgdata, host,
 * claimed_at. The highest number counts. Claims are created and never
 * replaced, so of two servers that claim at once one fails.
 */
#ifndef OMB_REPO_CLAIM_H
#define OMB_REPO_CLAIM_H

#include "repo/repository.h"

#define OMB_INSTANCE_FILE "omsupply_backup.instance"
#define OMB_INSTANCE_TEXT 33

typedef struct omb_claim
{
	uint32_t number; /* 0: nobody has claimed the repository */
	char instance[OMB_INSTANCE_TEXT];
	uint64_t system_identifier;
	char *pgdata;
	char *host;
	int64_t claimed_at;
} omb_claim;

extern void omb_claim_clear(omb_claim *claim);

/* Number of the claim that counts; 0 when there is none. */
extern omb_status omb_claim_number(omb_repository *repo, uint32_t *number,
								   omb_error *err);
/* The claim that counts. */
extern omb_status omb_claim_read(omb_repository *repo, omb_claim *claim,
								 omb_error *err);

/*
 * May this data directory write to the repository? The first that asks gets
 * the claim. OMB_REFUSED, with whose it is and what to do, when not. *number
 * is the claim that was found to fit.
 */
extern omb_status omb_claim_check(omb_repository *repo, const char *pgdata,
								  uint64_t system_identifier, uint32_t *number,
								  omb_error *err);

/*
 * Make the repository belong to this data directory. OMB_REFUSED when it
 * holds another cluster (system identifier). previous gets the instance it
 * belonged to, or "".
 */
extern omb_status omb_claim_take(omb_repository *repo, const char *pgdata,
								 uint64_t system_identifier,
								 char instance[OMB_INSTANCE_TEXT],
								 char previous[OMB_INSTANCE_TEXT],
								 omb_error *err);

#endif
