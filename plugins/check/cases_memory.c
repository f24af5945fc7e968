/* cases_memory.c - the caller's memory: only what was lent, and only during the call
 *
 * What a plugin may write ends at a page that faults, and the bytes before it are watched.
 */
#include "kit.h"

#include <stdlib.h>

static void get_bounds(struct kit *k)
{
    static const size_t SIZES[] = {1, 7, 100, 4095, 4096, 4097, 100000};
    kit_make(k->r, "object", 50000, 1);
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        uint8_t *buf = kit_guarded(SIZES[i]);
        static const uint64_t OFFS[] = {0, 1, 49999, 50000, 60000};
        for (size_t j = 0; j < sizeof OFFS / sizeof *OFFS; j++) {
            size_t got;
            need_ok(kit_get(k->r, "object", OFFS[j], buf, SIZES[i], &got), "get of %zu bytes", SIZES[i]);
            need(kit_guarded_intact(buf, SIZES[i]), "get of %zu bytes wrote before the buffer", SIZES[i]);
        }
    }
}

static void put_bounds(struct kit *k)
{
    static const size_t SIZES[] = {1, 7, 100, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        struct kit_put put;
        uint8_t *buf = kit_guarded(SIZES[i]);
        kit_fill(buf, 0, SIZES[i], 1);
        need_ok(kit_put_begin(k->r, "object", false, &put), "put_begin");
        need_ok(kit_put_write(&put, buf, SIZES[i]), "put_write of %zu bytes at the end of a page", SIZES[i]);
        need_ok(kit_put_commit(&put, NULL), "put_commit");
        kit_need_object(k->r, "object", SIZES[i], 1);
        uint8_t *same = kit_alloc(SIZES[i]);
        kit_fill(same, 0, SIZES[i], 1);
        need(memcmp(same, buf, SIZES[i]) == 0, "put_write changed the caller's bytes");
        free(same);
        need_ok(kit_remove_one(k->r, "object"), "remove");
    }
}

static void result_bounds(struct kit *k)
{
    const char *keys[] = {"one", "none", "two"};
    obv_store_class *results = kit_guarded(3 * sizeof *results);
    obv_object_info *info = kit_guarded(sizeof *info);
    obv_probe_result *probe = kit_guarded(sizeof *probe);
    uint64_t *swept = kit_guarded(sizeof *swept);
    size_t *got = kit_guarded(sizeof *got);
    struct kit_put put;
    char byte;
    need_ok(kit_probe(k->r, probe), "probe");
    need_ok(kit_put_begin(k->r, "one", false, &put), "put_begin");
    need_ok(kit_put_commit(&put, info), "put_commit");
    need_ok(kit_put_bytes(k->r, "two", false, "x", 1), "put");
    need_ok(kit_head(k->r, "two", info), "head");
    need_ok(kit_get(k->r, "two", 0, &byte, 1, got), "get");
    need_ok(kit_sweep(k->r, 3600, swept), "sweep");
    need_ok(kit_remove(k->r, keys, 3, results), "remove");
    if (k->caps & OBV_CAP_APPEND) {
        need_ok(kit_append(k->r, "log", 0, "x", 1), "append");
        const char *logs[] = {"log", "none", "log"};
        (void)kit_sync(k->r, logs, 3, results);
        need_ok(kit_sync(k->r, logs, 1, results + 2), "sync");
    }
    need(kit_guarded_intact(results, 3 * sizeof *results), "something wrote before the results");
    need(kit_guarded_intact(info, sizeof *info), "something wrote before the object's info");
    need(kit_guarded_intact(probe, sizeof *probe), "something wrote before the probe's result");
    need(kit_guarded_intact(swept, sizeof *swept) && kit_guarded_intact(got, sizeof *got),
         "something wrote before a count");
}

static void err_bounds(struct kit *k)
{
    obv_store_err *err = kit_guarded(sizeof *err);
    obv_object_info info;
    obv_put_handle *put = NULL;
    const obv_put_opts opts = {.size = sizeof opts};
    char key[OBV_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    for (size_t i = 200; i < sizeof key; i += 200)
        key[i] = '/';
    key[sizeof key - 1] = '\0';
    need_class(k->p->head(k->r->r, key, &info, err), OBV_STORE_NOT_FOUND, "head of a long absent key");
    need(kit_guarded_intact(err, sizeof *err), "head wrote before the error record");
    key[10] = ' '; /* a long key that is refused, in a message that has less room */
    need_class(k->p->put_begin(k->r->r, key, &opts, &put, err), OBV_STORE_FATAL,
               "put_begin of a long key with a space");
    need(kit_guarded_intact(err, sizeof *err), "put_begin wrote before the error record");
    need(memchr(err->msg, '\0', sizeof err->msg), "the message of a long key has no end");
}

/* Every name that is lent lies at the end of a page, is the plugin's during the call only, and is wiped after it. */
static void borrowed(struct kit *k)
{
    enum { LEN = 15 };
    char *key = kit_guarded(LEN + 1);
    char *body = kit_guarded(1000);
    obv_put_opts *opts = kit_guarded(sizeof *opts);
    struct kit_put put = {.r = k->r};
    memcpy(key, "folder/object-1", LEN + 1);
    *opts = (obv_put_opts){.size = sizeof *opts};
    need_ok(KIT_CALL(k->r, "put_begin", k->p->put_begin(k->r->r, key, opts, &put.h, err)), "put_begin");
    memset(key, '?', LEN + 1);
    memset(opts, 0xA5, sizeof *opts);
    for (int i = 0; i < 10; i++) {
        kit_fill(body, (uint64_t)i * 1000, 1000, 1);
        need_ok(kit_put_write(&put, body, 1000), "put_write");
        memset(body, '?', 1000);
    }
    need_ok(kit_put_commit(&put, NULL), "put_commit");
    kit_need_object(k->r, "folder/object-1", 10000, 1);
    if (!(k->caps & OBV_CAP_APPEND))
        return;
    for (uint64_t i = 0; i < 10; i++) {
        memcpy(key, "folder/append-1", LEN + 1);
        kit_fill(body, i * 1000, 1000, 2);
        need_ok(kit_append(k->r, key, i * 1000, body, 1000), "append");
        memset(key, '?', LEN + 1);
        memset(body, '?', 1000);
    }
    const char *const again = "folder/append-1";
    obv_store_class result;
    need_ok(kit_sync(k->r, &again, 1, &result), "sync");
    kit_need_object(k->r, again, 10000, 2);
}

static void longer_structs(struct kit *k)
{
    /* a newer host's structs are longer, and their sizes say so; every call of the kit is made so */
    struct {
        obv_host host;
        uint8_t later[256];
    } *host = kit_guarded(sizeof *host);
    obv_repo_handle *r = NULL;
    obv_store_err err;
    host->host = k->r->host.host;
    host->host.size = sizeof *host;
    need_ok(k->p->open(&host->host, k->cfg->options, k->cfg->option_count, &r, &err), "open by a newer host");
    k->p->close(r);
    need(kit_guarded_intact(host, sizeof *host), "open wrote before the host");
}

static const struct kit_case CASES[] = {
    {"memory.get", "Get writes nothing outside of the buffer.", 0, 0, get_bounds},
    {"memory.put", "Writes read nothing outside of the buffer, and change nothing in it.", 0, 0, put_bounds},
    {"memory.results", "Results are written where they belong and nowhere else.", 0, 0, result_bounds},
    {"memory.err", "The error record is written within its bounds, whatever the key.", 0, 0, err_bounds},
    {"memory.borrowed", "Keys, options and buffers are the plugin's to use only during the call.", 0, 0, borrowed},
    {"memory.longer_structs", "Structs with a size may be longer than the plugin knows.", 0, KIT_FORGETFUL,
     longer_structs},
};
const struct kit_group KIT_MEMORY = KIT_GROUP(CASES);
