/* pin.h - undo_retention of tenants while they are backed up: an opt-in that ends whatever happens
 *
 * A tenant named under `pins` keeps older versions of its rows, system partitions included, while a set of it is made.
 * What the variable was is recorded before it is changed; once the job has ended, or after backup.pin_max_s, it gets
 * that value back, also by a coordinator that was started in the meantime. A value that somebody else has set stays.
 */
#ifndef OBV_COORDINATOR_PIN_H
#define OBV_COORDINATOR_PIN_H

#include "job/context.h"

/**
 * Raises undo_retention of the tenants that the configuration names. A set needs no pin: what cannot be raised is told
 * by an event and the set goes on. OBV_E_...: the state cannot be read or written.
 */
OBV_CHECK obv_code obv_pins_take(obv_job_ctx *x, obv_cluster *source, const obv_job *job, const obv_tenants *tenants,
                                 obv_err *err);
/** Gives back what is due; called often, asks the cluster seldom. */
void obv_pins_look(obv_job_ctx *x);

#endif
