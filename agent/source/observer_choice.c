#include "source/observer_choice.h"

#include "base/fault.h"

#include <inttypes.h>
#include <stdlib.h>

static bool is_kept_minor(int32_t type)
{
    /* complement minors are OceanBase's own backup's way to carry running transactions, the trans sstable is ours */
    return obv_table_type_is_minor(type) && type != OBV_TABLE_COMPLEMENT_MINOR;
}

static int by_log_range(const void *a, const void *b)
{
    const obv_table_key *x = &((const obv_choice_table *)a)->key;
    const obv_table_key *y = &((const obv_choice_table *)b)->key;
    if (x->log_ts.start != y->log_ts.start)
        return x->log_ts.start < y->log_ts.start ? -1 : 1;
    if (x->log_ts.end != y->log_ts.end)
        return x->log_ts.end < y->log_ts.end ? -1 : 1;
    if (x->versions.snapshot_version != y->versions.snapshot_version)
        return x->versions.snapshot_version < y->versions.snapshot_version ? -1 : 1;
    return 0;
}

static void swap(obv_choice_table *a, obv_choice_table *b)
{
    const obv_choice_table t = *a;
    *a = *b;
    *b = t;
}

obv_code obv_choice_majors(obv_choice_table *t, size_t *n, int64_t publish_version, obv_choice_table *newer,
                           obv_err *err)
{
    size_t best = SIZE_MAX, next = SIZE_MAX;
    *newer = (obv_choice_table){0};
    size_t trans = 0;
    for (size_t i = 0; i < *n; i++) {
        const obv_table_key *k = &t[i].key;
        if (k->type == OBV_TABLE_TRANS)
            trans++;
        else if (!obv_table_type_is_major(k->type) && !obv_table_type_is_minor(k->type))
            return obv_fail(err, OBV_E_CORRUPT, 0, "index %" PRIu64 ": a table of type %d among its sstables",
                            k->table_id, (int)k->type);
        if (!obv_table_type_is_major(k->type))
            continue;
        const int64_t snapshot = k->versions.snapshot_version;
        if (snapshot <= publish_version) {
            if (best == SIZE_MAX || snapshot > t[best].key.versions.snapshot_version)
                best = i;
            continue;
        }
        if (next == SIZE_MAX || snapshot < t[next].key.versions.snapshot_version)
            next = i;
        if (snapshot > newer->key.versions.snapshot_version)
            *newer = t[i];
    }
    if (trans > 0 && trans < *n)
        return obv_fail(err, OBV_E_CORRUPT, 0, "index %" PRIu64 ": trans-state sstables among others",
                        t[0].key.table_id);
    if (trans > 0)
        return OBV_OK;
    /* An index that was built behind the PG's position, as a server finds it too that restarts from there: the log
     * from the position on holds nothing of the index that the major lacks or could not take again. */
    if (best == SIZE_MAX)
        best = next;
    if (best == SIZE_MAX)
        return obv_fail(err, OBV_E_PG_CHANGED, 0, "index %" PRIu64 ": no major sstable yet",
                        *n ? t[0].key.table_id : 0);
    swap(&t[0], &t[best]);
    size_t kept = 1;
    for (size_t i = 1; i < *n; i++)
        if (is_kept_minor(t[i].key.type))
            t[kept++] = t[i];
    qsort(t + 1, kept - 1, sizeof *t, by_log_range);
    *n = kept;
    return OBV_OK;
}

obv_code obv_choice_minors(obv_choice_table *t, size_t *n, int64_t publish_version, obv_err *err)
{
    if (*n == 0 || t[0].key.type == OBV_TABLE_TRANS)
        return OBV_OK;
    const int64_t major = t[0].key.versions.snapshot_version;
    size_t kept = 1;
    bool reached = false;
    for (size_t i = 1; i < *n && !reached; i++) {
        if (kept == 1 && t[i].upper_trans_version <= major)
            continue;
        if (kept > 1 && t[i].key.log_ts.start > t[kept - 1].key.log_ts.end)
            return obv_fail(err, OBV_E_PG_CHANGED, 0,
                            "index %" PRIu64 ": no minor sstable holds the log from %" PRId64 " to %" PRId64,
                            t[i].key.table_id, t[kept - 1].key.log_ts.end, t[i].key.log_ts.start);
        reached = t[i].key.versions.snapshot_version >= publish_version && !OBV_BUG_STRIKES("bug.a3c_minor_beyond");
        t[kept++] = t[i];
    }
    *n = kept;
    return OBV_OK;
}

bool obv_choice_is_whole(const obv_choice_table *t, size_t n, int64_t publish_version)
{
    const int64_t major = t[0].key.versions.snapshot_version;
    return major >= publish_version || (n > 1 && t[1].key.versions.base_version <= major &&
                                        t[n - 1].key.versions.snapshot_version >= publish_version);
}

void obv_choice_add_listed(obv_choice_facts *f, const obv_choice_table *t, size_t n, int64_t publish_version)
{
    for (size_t i = 0; i < n; i++) {
        if (t[i].key.type == OBV_TABLE_TRANS)
            continue;
        f->has_data_index = true;
        f->reached |= t[i].key.versions.snapshot_version >= publish_version;
    }
}

void obv_choice_add_chosen(obv_choice_facts *f, const obv_choice_table *t, int64_t publish_version)
{
    const bool is_major = obv_table_type_is_major(t->key.type);
    const int64_t bound = is_major ? t->key.versions.snapshot_version : t->key.versions.multi_version_start;
    if (t->key.type == OBV_TABLE_TRANS) {
        if (t->key.log_ts.end > f->trans_end_log_ts)
            f->trans_end_log_ts = t->key.log_ts.end;
    } else if (bound > f->lower_bound) {
        f->lower_bound = bound;
    }
    if (t->key.versions.snapshot_version >= publish_version && t->schema_version > f->max_schema_version)
        f->max_schema_version = t->schema_version;
}

obv_code obv_choice_check(const obv_choice_facts *f, const obv_data_info *x, obv_err *err)
{
    if (f->has_data_index && !f->reached)
        return obv_fail(err, OBV_E_PG_CHANGED, 0, "no sstable of the PG reaches its publish version %" PRId64 " yet",
                        x->publish_version);
    if (f->trans_end_log_ts < x->last_replay_log_ts && !OBV_BUG_STRIKES("bug.a3a_trans_not_compared"))
        return obv_fail(err, OBV_E_PG_CHANGED, 0,
                        "the trans state ends at %" PRId64 ", before the PG's last replayed log at %" PRId64,
                        f->trans_end_log_ts, x->last_replay_log_ts);
    return OBV_OK;
}
