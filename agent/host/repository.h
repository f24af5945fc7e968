/* repository.h - whose repository this is: the identity file <CP>/obvault/repository.json (docs/format.md)
 *
 * CP = <cluster_name>/<cluster_id>/incarnation_1. Every host reads the same uuid before it writes, so that an empty
 * folder below an unmounted mount point, or another cluster's tree, is never taken for the repository.
 */
#ifndef OBV_AGENT_HOST_REPOSITORY_H
#define OBV_AGENT_HOST_REPOSITORY_H

#include "host/store.h"

#define OBV_REPOSITORY_FORMAT 1 /* version of repository.json */

typedef struct obv_repository {
    char uuid[37];
    char profile[16]; /* "native" */
    char cluster_name[129];
    uint64_t cluster_id;
    int64_t created_at_us; /* wall */
    uint32_t capabilities; /* OBV_STORE_CAN_ as probed at init */
} obv_repository;

/** "<cluster_name>/<cluster_id>/incarnation_1"; OBV_E_INVAL if the name is no path component. */
OBV_CHECK obv_code obv_repository_prefix(const char *cluster_name, uint64_t cluster_id, char *out, size_t cap,
                                         obv_err *err);

/**
 * Reads and checks the identity.
 * @return OBV_E_NOT_INITIALISED there is none; OBV_E_CORRUPT it cannot be read as one; OBV_E_UNSUPPORTED a newer
 *         format; OBV_E_CONFIG it names another cluster than its place
 */
OBV_CHECK obv_code obv_repository_read(obv_store *s, const char *cluster_name, uint64_t cluster_id, const obv_cancel *c,
                                       obv_repository *out, obv_err *err);

/** The text of an identity, byte for byte as it was made. OBV_E_CORRUPT, OBV_E_UNSUPPORTED. */
OBV_CHECK obv_code obv_repository_parse(obv_span text, obv_repository *out, obv_err *err);

/** As read, and the uuid must be @p uuid (NULL or "": any): OBV_E_CONFIG otherwise. Before the first write of a task.
 */
OBV_CHECK obv_code obv_repository_verify(obv_store *s, const char *cluster_name, uint64_t cluster_id, const char *uuid,
                                         const obv_cancel *c, obv_repository *out, obv_err *err);

/**
 * Creates the identity, if absent. Refuses a tree that somebody else wrote: any object below CP while there is no
 * identity (OBV_E_PRECONDITION, names one), and a storage that cannot keep the profile's promises (OBV_E_UNSUPPORTED).
 * A repeat with the same uuid is OBV_OK.
 * @param want uuid ("" = a new one), profile, cluster_name and cluster_id
 * @return OBV_E_EXISTS: initialised already with another uuid (out is what is there)
 */
OBV_CHECK obv_code obv_repository_init(obv_store *s, const obv_repository *want, const obv_cancel *c,
                                       obv_repository *out, obv_err *err);

#endif
