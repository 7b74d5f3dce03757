/*
 * pipeline.h: units of work done by several threads, results in order.
 *
 * A producer fills units and submits them; workers process them side by
 * side; a consumer receives them in the order of submission and releases
 * them. The number of units bounds the memory. Producer and consumer may be
 * one thread or two.
 */
#ifndef OMB_BASE_PIPELINE_H
#define OMB_BASE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct omb_pipeline omb_pipeline;

/*
 * Processes one unit; worker counts from 0. Problems are noted in the unit
 * for the consumer.
 */
typedef void (*omb_pipeline_work)(void *unit, int worker, void *arg);

/*
 * Start the workers. The units are depth pieces of unit_size zeroed bytes;
 * what a user keeps in one stays there when it comes round again.
 */
extern omb_pipeline *omb_pipeline_new(int workers, size_t depth,
									  size_t unit_size, omb_pipeline_work work,
									  void *arg);

/*
 * Go on with so many workers, if there are fewer. Called by the thread that
 * stops the pipeline.
 */
extern void omb_pipeline_grow(omb_pipeline *pipe, int workers);

/* The i-th unit, for setting up and for cleaning up after _stop. */
extern void *omb_pipeline_unit(omb_pipeline *pipe, size_t i);

/*
 * A free unit to fill. NULL when all are under way (with wait false), or when
 * the pipeline was stopped.
 */
extern void *omb_pipeline_slot(omb_pipeline *pipe, bool wait);
/* Hand the unit of the last _slot to the workers. */
extern void omb_pipeline_submit(omb_pipeline *pipe);

/*
 * The oldest unit once it is processed. NULL when the pipeline was stopped, or
 * with wait false when it is not done yet.
 */
extern void *omb_pipeline_next(omb_pipeline *pipe, bool wait);
/* The unit of the last _next may be filled again. */
extern void omb_pipeline_release(omb_pipeline *pipe);

/* Whether any unit was submitted and not yet released. */
extern bool omb_pipeline_busy(omb_pipeline *pipe);

/*
 * End the workers after the unit in hand; waiting threads return NULL. May be
 * called again. _free stops first.
 */
extern void omb_pipeline_stop(omb_pipeline *pipe);
extern void omb_pipeline_free(omb_pipeline *pipe);

#endif
