/* local_verify.c - obvault-agent local verify: text or JSON lines, an exit code that tells the truth */
#include "base/clock.h"
#include "base/json.h"
#include "job/native_store.h"
#include "job/verify.h"
#include "local.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    RETRY_MS = 10000, /* a storage that does not answer so long is not read on */
    LINE_MAX_BYTES = 16384,
    EXIT_DAMAGE = 7,
    EXIT_STORAGE = 8,
};

static void close_store(obv_store **s) { obv_store_close(*s); }

static void print_line(obv_buf *b)
{
    if (!b->failed)
        (void)fwrite(b->data, 1, b->len, stdout);
}

static void print_text(void *ctx, const obv_verify_finding *f)
{
    (void)ctx;
    (void)printf("%s %s", obv_verify_class_name(f->class), f->object);
    if (f->offset >= 0)
        (void)printf(" at %" PRId64, f->offset);
    (void)printf(": %s\n  %s\n", f->text, f->meaning);
}

static void print_json(void *ctx, const obv_verify_finding *f)
{
    (void)ctx;
    uint8_t room[LINE_MAX_BYTES];
    obv_buf b = obv_buf_fixed(room, sizeof room);
    obv_json w = obv_json_to(&b);
    obv_json_object(&w, NULL);
    obv_json_str(&w, "type", "finding");
    obv_json_str(&w, "class", obv_verify_class_name(f->class));
    obv_json_str(&w, "kind", f->kind);
    obv_json_str(&w, "object", f->object);
    if (f->offset >= 0)
        obv_json_i64(&w, "offset", f->offset);
    else
        obv_json_null(&w, "offset");
    obv_json_str(&w, "text", f->text);
    obv_json_str(&w, "meaning", f->meaning);
    obv_json_end(&w);
    obv_json_line(&w);
    print_line(&b);
}

static const char *verdict(const obv_verify_stats *s, obv_code code)
{
    if (obv_verify_damage(s) > 0)
        return "damaged";
    return code != OBV_OK || s->found[OBV_VERIFY_UNREADABLE] > 0 ? "unreadable" : "good";
}

static void end_text(const obv_verify_stats *s, const char *result, double seconds)
{
    (void)printf("%s: %" PRIu64 " objects, %" PRIu64 " bytes, %" PRIu64 " sets, %" PRIu64 " PGs, %" PRIu64
                 " macroblocks, %" PRIu64 " archived PGs, %" PRIu64 " logs in %.1f s\n",
                 result, s->objects, s->bytes, s->sets, s->pgs, s->blocks, s->archived_pgs, s->logs, seconds);
    for (enum obv_verify_class c = 0; c < OBV_VERIFY_CLASSES; c++)
        if (s->found[c] > 0)
            (void)printf("  %-12s %" PRIu64 "\n", obv_verify_class_name(c), s->found[c]);
    if (!s->ours)
        (void)printf("  no obvault/repository.json: judged as a tree that OceanBase wrote\n");
}

static void end_json(const obv_verify_stats *s, const char *result, double seconds)
{
    uint8_t room[LINE_MAX_BYTES];
    obv_buf b = obv_buf_fixed(room, sizeof room);
    obv_json w = obv_json_to(&b);
    obv_json_object(&w, NULL);
    obv_json_str(&w, "type", "summary");
    obv_json_str(&w, "result", result);
    obv_json_bool(&w, "ours", s->ours);
    obv_json_u64(&w, "objects", s->objects);
    obv_json_u64(&w, "bytes", s->bytes);
    obv_json_u64(&w, "sets", s->sets);
    obv_json_u64(&w, "pgs", s->pgs);
    obv_json_u64(&w, "macroblocks", s->blocks);
    obv_json_u64(&w, "archived_pgs", s->archived_pgs);
    obv_json_u64(&w, "logs", s->logs);
    obv_json_object(&w, "found");
    for (enum obv_verify_class c = 0; c < OBV_VERIFY_CLASSES; c++)
        obv_json_u64(&w, obv_verify_class_name(c), s->found[c]);
    obv_json_end(&w);
    obv_json_fixed(&w, "seconds", seconds, 3);
    obv_json_end(&w);
    obv_json_line(&w);
    print_line(&b);
}

/* Codes of the storage: all that is no fault of the call or of this process. */
static bool is_storage(obv_code c)
{
    return OBV_IS_RETRYABLE(c) || c == OBV_E_IO || c == OBV_E_DENIED || c == OBV_E_AUTH || c == OBV_E_READ_ONLY ||
           c == OBV_E_NO_SPACE || c == OBV_E_CONFLICT;
}

obv_code obv_local_verify(const obv_agent_config *cfg, const obv_local_options *o, int *exit_code, obv_err *err)
{
    OBV_AUTO(close_store) obv_store *store = NULL;
    obv_store_config sc = obv_agent_store_config(cfg);
    sc.retry_budget_ms = RETRY_MS;
    obv_verify_stats stats = {0};
    obv_native_store native;
    obv_verify_config vc = {.depth = o->lists_only ? OBV_VERIFY_LISTS : OBV_VERIFY_DEEP,
                            .set_id = o->set_id,
                            .uuid = cfg->repository.uuid,
                            .fn = o->json ? print_json : print_text};
    const int64_t began = obv_mono_ns();
    OBV_TRY(obv_media_root_init(&vc.root, cfg->cluster.name, (int64_t)cfg->cluster.id, err));
    obv_code code = obv_store_open(&sc, &store, err);
    if (code == OBV_OK) {
        obv_native_store_init(&native, store, NULL);
        vc.io = &native.io;
        code = obv_verify_run(&vc, &stats, err);
    }
    if (code != OBV_OK && !is_storage(code))
        return code;
    const char *result = verdict(&stats, code);
    (o->json ? end_json : end_text)(&stats, result, (double)(obv_mono_ns() - began) / 1e9);
    *exit_code = obv_verify_damage(&stats) > 0 ? EXIT_DAMAGE : strcmp(result, "good") != 0 ? EXIT_STORAGE : 0;
    if (code != OBV_OK)
        (void)fprintf(stderr,
                      "obvault-agent: %s\n  the storage gives nothing any more: nothing is said about what was "
                      "not read\n",
                      err->msg);
    return OBV_OK;
}
