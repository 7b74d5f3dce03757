/*
 * mirrorsend.h: sending objects to a target, several at once, and counting
 * what was sent and what was not.
 */
#ifndef OMB_TASK_MIRRORSEND_H
#define OMB_TASK_MIRRORSEND_H

#include "task/mirror/mirror.h"
#include "task/mirror/mirrorset.h"

typedef enum omb_mirror_state
{
	OMB_MIRROR_WAITING, /* not tried, or there was no time for it */
	OMB_MIRROR_THERE,
	OMB_MIRROR_GONE, /* from the source */
	OMB_MIRROR_FAILED
} omb_mirror_state;

/* An object to be sent. */
typedef struct omb_mirror_item
{
	char *name;
	uint64_t size;
	omb_mirror_state state;
	/* of WAL: where it belongs; a timeline's history has place 0 */
	uint32_t timeline;
	uint64_t place; /* log and segment */
	bool is_history;
} omb_mirror_item;

typedef struct omb_mirror_items
{
	omb_mirror_item *item;
	size_t count;
	size_t cap;
} omb_mirror_items;

extern omb_mirror_item *omb_mirror_items_add(omb_mirror_items *items,
											 const char *name, uint64_t size);
extern void omb_mirror_items_clear(omb_mirror_items *items);

/* Belongs to one thread; it has others at work inside. */
typedef struct omb_mirror_sender omb_mirror_sender;

extern omb_mirror_sender *omb_mirror_sender_new(
	const omb_mirror_config *config,
	const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE]);
extern void omb_mirror_sender_free(omb_mirror_sender *sender);

/* What the target has. */
extern omb_mirror_set *omb_mirror_sender_known(omb_mirror_sender *sender);
/*
 * Note that the target has an object. A revision of a manifest stands for the
 * lower ones too.
 */
extern void omb_mirror_sender_note(omb_mirror_sender *sender, const char *name,
								   uint64_t size);

/*
 * With counting nothing is sent: what would be is counted, each object once
 * since counting began.
 */
extern void omb_mirror_sender_count(omb_mirror_sender *sender, bool counting);
/* Nothing is missing after all. */
extern void omb_mirror_sender_forget_count(omb_mirror_sender *sender);
extern bool omb_mirror_sender_counting(const omb_mirror_sender *sender);
/* Begin anew with counting and failures; what the target has stays. */
extern void omb_mirror_sender_begin_run(omb_mirror_sender *sender);
/* Let the time for a round begin. */
extern void omb_mirror_sender_begin_round(omb_mirror_sender *sender);

/*
 * Send those that the target does not have, in this order, as far as time
 * allows. Each gets a state: when counting, that of having been sent. What
 * failed before is not tried again.
 */
extern void omb_mirror_send(omb_mirror_sender *sender, const char *step,
							omb_mirror_item *const *item, size_t count);
extern void omb_mirror_send_all(omb_mirror_sender *sender, const char *step,
								omb_mirror_items *items);
/* Note a failure that was seen elsewhere. */
extern void omb_mirror_sender_fail(omb_mirror_sender *sender, const char *name,
								   const omb_error *problem, bool damaged);

/* Whether something was left out that another round would do. */
extern bool omb_mirror_sender_again(const omb_mirror_sender *sender);
extern void omb_mirror_sender_set_again(omb_mirror_sender *sender);
/* Why no more is sent at all; NULL while that is not so. */
extern const omb_error *omb_mirror_sender_stopped(
	const omb_mirror_sender *sender);
/* The first problem with an object, or NULL. */
extern const omb_error *omb_mirror_sender_problem(
	const omb_mirror_sender *sender);

/* Sent so far, and what was counted last as missing. */
extern void omb_mirror_sender_result(const omb_mirror_sender *sender,
									 omb_mirror_result *result);

#endif
