/* verify.c - the run over a native tree: order of the parts, findings, what ends it */
#define OBV_LOG_MOD "verify"
#include "job/verify_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { UNREADABLE_MAX = 16, TEXT_MAX = 480 };

static const char *const CLASS_NAMES[OBV_VERIFY_CLASSES] = {"damaged",  "missing",    "inconsistent",
                                                            "unlisted", "unreadable", "leftover"};
const char *obv_verify_class_name(enum obv_verify_class c)
{
    return c < OBV_VERIFY_CLASSES ? CLASS_NAMES[c] : "unknown";
}

uint64_t obv_verify_damage(const obv_verify_stats *s)
{
    return s->found[OBV_VERIFY_DAMAGED] + s->found[OBV_VERIFY_MISSING] + s->found[OBV_VERIFY_INCONSISTENT] +
           s->found[OBV_VERIFY_UNLISTED];
}

static const char FOLDER_MEANING[] = "the PG or set that the text names cannot be restored from this tree";

/* What a bad object of a kind means for somebody who wants to restore. */
static const char *const MEANING[OBV_NATIVE_KINDS] = {
    [OBV_NATIVE_UNKNOWN] = "no restore reads it",
    [OBV_NATIVE_TEMPORARY] = "no restore reads it",
    [OBV_NATIVE_OWN] = "stock OceanBase restores without it; obvault will not write here until it is right again",
    [OBV_NATIVE_TENANT_NAMES] = "a restore by tenant name may fail; obvault writes it anew with the next backup",
    [OBV_NATIVE_TENANT_INFO] = "the list of tenants is not sure; restores do not need it",
    [OBV_NATIVE_BACKUP_INFO] = "the list of sets is not sure; sets named explicitly restore without it",
    [OBV_NATIVE_SET_LIST] = "sets cannot be chosen by time; sets named explicitly restore without it",
    [OBV_NATIVE_SET_COPY_LIST] = "copies of sets cannot be chosen by time; named explicitly they restore without it",
    [OBV_NATIVE_ROUNDS] = "rounds cannot be chosen by time; pieces named explicitly restore without it",
    [OBV_NATIVE_PIECES] = "pieces cannot be chosen by time; named explicitly they restore without it",
    [OBV_NATIVE_PIECE_COPY_LIST] = "copies of pieces cannot be chosen by time",
    [OBV_NATIVE_SERVER_START] = "restores do not need it",
    [OBV_NATIVE_MOUNT_FILE] = "OceanBase may refuse the mount; the log itself is not concerned",
    [OBV_NATIVE_SINGLE_PIECE] = "the round's log cannot be used in a restore until this file is right again",
    [OBV_NATIVE_ARCHIVE_KEY] = "the PG's log of this round or piece may not be found by a restore",
    [OBV_NATIVE_ARCHIVE_INDEX] = "a restore may begin in the wrong data file; the log itself is not concerned",
    [OBV_NATIVE_ARCHIVE_DATA] = "the tenant cannot be restored to times behind the damage with sets from before it",
    [OBV_NATIVE_SINGLE_SET] = "the set cannot be restored until this file is right again",
    [OBV_NATIVE_SET_INFO] = "the set cannot be restored until this file is right again",
    [OBV_NATIVE_SYS_PG_LIST] = "the set cannot be restored: which PGs it has is not known",
    [OBV_NATIVE_NORMAL_PG_LIST] = "the set cannot be restored: which PGs it has is not known",
    [OBV_NATIVE_LOCALITY] = "the set cannot be restored until this file is right again",
    [OBV_NATIVE_DIAGNOSE] = "restores do not need it",
    [OBV_NATIVE_META_FILE] = "PGs of this task cannot be restored from the set: take another set",
    [OBV_NATIVE_META_INDEX] = "the merged index serves restores; this file is only read when that one is lost",
    [OBV_NATIVE_MERGED_INDEX] = "PGs of the set cannot be found: take another set",
    [OBV_NATIVE_MACRO_DATA] = "the PG cannot be restored from the set: take another set",
    [OBV_NATIVE_MACRO_INDEX] = "the PG's blocks cannot be found: take another set",
};

void obv_verify_say(obv_verify *v, enum obv_verify_class c, const char *key, int64_t offset, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    obv_native_name n = {.kind = OBV_NATIVE_UNKNOWN};
    if (strncmp(key, v->cfg->root.cp.s, v->prefix_len - 1) == 0 && key[v->prefix_len - 1] == '/')
        obv_native_name_parse(key + v->prefix_len, &n);
    const obv_verify_finding f = {.class = c,
                                  .object = key,
                                  .kind = obv_native_kind_name(n.kind),
                                  .offset = offset,
                                  .text = text,
                                  .meaning = c == OBV_VERIFY_LEFTOVER     ? "no reader is hurt"
                                             : c == OBV_VERIFY_UNREADABLE ? "its bytes are not known: check the "
                                                                            "storage, then verify again"
                                             : n.kind == OBV_NATIVE_UNKNOWN && c != OBV_VERIFY_UNLISTED
                                                 ? FOLDER_MEANING
                                                 : MEANING[n.kind]};
    v->stats->found[c]++;
    if (v->cfg->fn)
        v->cfg->fn(v->cfg->ctx, &f);
}

obv_code obv_verify_judge(obv_verify *v, const char *key, int64_t offset, const obv_err *why, obv_err *err)
{
    switch (why->code) {
    case OBV_E_CORRUPT:
    case OBV_E_UNSUPPORTED:
    case OBV_E_LIMIT:
    case OBV_E_INVAL:
        obv_verify_say(v, OBV_VERIFY_DAMAGED, key, offset, "%s", why->msg);
        return OBV_OK;
    case OBV_E_NOT_FOUND:
        obv_verify_say(v, OBV_VERIFY_MISSING, key, -1, "it is not there");
        return OBV_OK;
    case OBV_E_CANCELLED:
    case OBV_E_NOMEM:
    case OBV_E_INTERNAL:
        break;
    default:
        obv_verify_say(v, OBV_VERIFY_UNREADABLE, key, offset, "%s", why->msg);
        if (!OBV_IS_RETRYABLE(why->code) && ++v->unreadable_in_a_row < UNREADABLE_MAX)
            return OBV_OK; /* this object only, as far as one can see */
    }
    if (err)
        *err = *why;
    return why->code;
}

obv_code obv_verify_read(obv_verify *v, const char *key, size_t max, obv_buf *out, bool *ok, obv_err *err)
{
    obv_err why = {0};
    *ok = obv_native_read(v->cfg->io, key, max, out, &why) == OBV_OK;
    if (!*ok)
        return obv_verify_judge(v, key, -1, &why, err);
    v->unreadable_in_a_row = 0;
    return OBV_OK;
}

obv_code obv_verify_cancelled(const obv_verify *v, obv_err *err)
{
    return obv_cancel_check(v->cfg->cancel, "verify", err);
}

void *obv_verify_add(obv_verify_array *a, size_t item, obv_err *err)
{
    if (a->count == a->cap) {
        const size_t cap = a->cap ? a->cap * 2 : 64;
        void *grown = reallocarray(a->items, cap, item);
        if (!grown) {
            (void)obv_fail(err, OBV_E_NOMEM, 0, "verify: %zu items", cap);
            return NULL;
        }
        a->items = grown;
        a->cap = cap;
    }
    void *at = (char *)a->items + item * a->count++;
    memset(at, 0, item);
    return at;
}

void obv_verify_unique(obv_verify_array *a, size_t item, int (*cmp)(const void *, const void *))
{
    if (a->count < 2)
        return;
    char *items = a->items;
    qsort(items, a->count, item, cmp);
    size_t kept = 1;
    for (size_t i = 1; i < a->count; i++)
        if (cmp(items + item * (kept - 1), items + item * i) != 0)
            memmove(items + item * kept++, items + item * i, item);
    a->count = kept;
}

static int by_key(const void *key, const void *item) { return strcmp(key, ((const obv_verify_small *)item)->key); }

const obv_verify_small *obv_verify_find(const obv_verify *v, const char *key)
{
    return v->small.count ? bsearch(key, v->small.items, v->small.count, sizeof(obv_verify_small), by_key) : NULL;
}

/* Tenants that have anything below their folder, ascending; 0 ends. */
static uint64_t next_tenant(const obv_verify *v, uint64_t after)
{
    uint64_t best = 0;
    const obv_verify_small *s = v->small.items;
    for (size_t i = 0; i < v->small.count; i++)
        if (s[i].name.tenant > after && (!best || s[i].name.tenant < best))
            best = s[i].name.tenant;
    const obv_verify_array *dirs[] = {&v->set_pgs, &v->round_pgs};
    for (size_t k = 0; k < 2; k++) {
        const obv_verify_pg_dir *d = dirs[k]->items;
        for (size_t i = 0; i < dirs[k]->count; i++)
            if (d[i].tenant > after && (!best || d[i].tenant < best))
                best = d[i].tenant;
    }
    return best;
}

static obv_code run(obv_verify *v, obv_err *err)
{
    OBV_TRY(obv_verify_names(v, err));
    OBV_TRY(obv_verify_infos(v, err));
    OBV_TRY(obv_verify_set_lists(v, err));
    if (!v->cfg->set_id)
        OBV_TRY(obv_verify_round_lists(v, err));
    for (uint64_t t = next_tenant(v, 0); t != 0; t = next_tenant(v, t)) {
        v->wanted.count = 0;
        OBV_TRY(obv_verify_sets(v, t, err));
        if (!v->cfg->set_id)
            OBV_TRY(obv_verify_archive(v, t, err));
    }
    if (v->cfg->set_id && v->stats->sets == 0 && obv_verify_damage(v->stats) == 0)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no good set %" PRId64 " below %s", v->cfg->set_id, v->cfg->root.cp.s);
    return OBV_OK;
}

obv_code obv_verify_run(const obv_verify_config *cfg, obv_verify_stats *stats, obv_err *err)
{
    obv_verify v = {.cfg = cfg,
                    .stats = stats,
                    .window = obv_native_window_of(cfg->io, OBV_NATIVE_BLOCK_MAX),
                    .prefix_len = strlen(cfg->root.cp.s) + 1};
    *stats = (obv_verify_stats){0};
    const obv_code code = run(&v, err);
    obv_native_window_fini(&v.window);
    obv_verify_small *s = v.small.items;
    for (size_t i = 0; i < v.small.count; i++)
        free(s[i].key);
    free(v.small.items);
    free(v.set_pgs.items);
    free(v.round_pgs.items);
    free(v.piece_dirs.items);
    free(v.wanted.items);
    return code;
}
