/* tenant_names.h - tenant_name_info: which tenant id had which name since when (docs/format.md, "Tenant names") */
#ifndef OBV_FORMAT_MEDIA_TENANT_NAMES_H
#define OBV_FORMAT_MEDIA_TENANT_NAMES_H

#include "format/media/info_files.h"

#define OBV_TENANT_NAMES_MAX 100000u

/* One period of a name: from the schema version (us) of the create or rename on. */
typedef struct obv_tenant_name {
    char name[OBV_TENANT_NAME_MAX * 2 + 1];
    uint64_t tenant_id;
    int64_t timestamp;
} obv_tenant_name;

/** Order of the file: name bytewise, then timestamp, then id. For qsort. */
int obv_tenant_name_cmp(const void *a, const void *b);
/**
 * Emits the file (data_version 1) from entries in obv_tenant_name_cmp order without repeats. OBV_E_INVAL: not sorted,
 * an empty name, or @p schema_version (the sys tenant's) not positive.
 */
OBV_CHECK obv_code obv_put_tenant_names(obv_buf *b, int64_t schema_version, const obv_tenant_name *e, size_t n,
                                        obv_err *err);
typedef int obv_tenant_name_fn(void *ctx, const obv_tenant_name *e);
/** An empty file gives *schema_version = 0 and no entries. */
OBV_CHECK obv_code obv_tenant_names_each(obv_span file, int64_t *schema_version, obv_tenant_name_fn *fn, void *ctx,
                                         obv_err *err);
/** Sorts @p e and drops exact repeats and entries whose predecessor of the same name has the same tenant. @return left
 */
size_t obv_tenant_names_normalise(obv_tenant_name *e, size_t n);
/** Tenant id that @p name has at @p at_us in entries sorted as in the file; 0 if none. */
uint64_t obv_tenant_names_find(const obv_tenant_name *e, size_t n, const char *name, int64_t at_us);

#endif
