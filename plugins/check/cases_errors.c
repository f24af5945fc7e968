/* cases_errors.c - error records: the last case, which also judges what all others saw of them */
#include "kit.h"

/* Calls that any plugin must fail. */
static void fail_everything(struct kit *k)
{
    static const obv_kv NONSENSE[] = {{"no_such_option", "x"}};
    const char *bad = "not a key";
    const char *none = "none";
    struct kit_repo *r = NULL;
    struct kit_put put;
    obv_object_info info;
    char byte;
    size_t got;
    (void)kit_open_with(k, NONSENSE, 1, &r);
    (void)kit_open_with(k, NONSENSE, 0, &r);
    (void)kit_put_begin(k->r, bad, false, &put);
    (void)kit_head(k->r, bad, &info);
    (void)kit_get(k->r, bad, 0, &byte, 1, &got);
    (void)kit_remove_one(k->r, bad);
    (void)kit_head(k->r, none, &info);
    (void)kit_get(k->r, none, 0, &byte, 1, &got);
    if (k->caps & OBV_CAP_APPEND) {
        obv_store_class result;
        (void)kit_append(k->r, none, 10, "x", 1);
        (void)kit_sync(k->r, &none, 1, &result);
    }
    atomic_store(&k->r->cancel_after, 0);
    (void)kit_head(k->r, none, &info);
    atomic_store(&k->r->cancel_after, -1);
}

static void records(struct kit *k)
{
    fail_everything(k);
    const unsigned n = atomic_load(&k->shared->note_count);
    need(n == 0, "%u breaches in all cases that ran; the first: %.300s", n, k->shared->notes[0]);
}

static const struct kit_case CASES[] = {
    {"errors.records",
     "Every failure fills err: the returned class, one line, no secret, no retry_after but THROTTLED's; OK leaves it.",
     0, KIT_FORGETFUL, records},
};
const struct kit_group KIT_ERRORS = KIT_GROUP(CASES);
