/* archive_kit.h - an archive job on made logs and a folder: fake OBServer answers, and a strict reader of the result */
#ifndef OBV_TEST_ARCHIVE_KIT_H
#define OBV_TEST_ARCHIVE_KIT_H

#include "../clog_maker.h"
#include "base/clock.h"
#include "format/media/archive_index.h"
#include "format/media/archive_infos.h"
#include "format/media/archive_key.h"
#include "job/archive_priv.h"
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>

#ifndef KIT_PGS
#define KIT_PGS 64u
#endif
#define KIT_TENANT UINT64_C(1001)

typedef struct kit {
    maker *m;
    char root[64];
    obv_store *store;
    obv_archive *job;
    obv_archive_hooks hooks;
    obv_archive_assign assign[KIT_PGS];
    uint32_t pg_count;
    uint64_t revision;
    uint64_t first_piece, piece; /* 0: round mode; the date of a piece is 20221000 + its id */
    bool stale_writers;          /* an old piece may have grown after it was left */
    pthread_mutex_t mu;
    obv_archive_origin origins[KIT_PGS]; /* guarded by mu, as all below */
    obv_archive_row rows[KIT_PGS];
    bool sql_fails, rpc_fails;
    unsigned samplings;
    /* fast proof */
    bool fast;
    obv_archive_window windows[KIT_PGS];
    bool one_phase_commit, flaps; /* flaps: another leader epoch at each poll */
    unsigned polls;
} kit;

static inline obv_pg_key kit_key(uint32_t i)
{
    return (obv_pg_key){(KIT_TENANT << 40) + 50001 + i / 8, (int32_t)(i % 8), 0};
}

static inline obv_code kit_origin(void *ctx, const obv_pg_key *pg, const obv_cancel *c, obv_archive_origin *out,
                                  obv_err *err)
{
    (void)c;
    kit *k = ctx;
    obv_code code = obv_fail(err, OBV_E_PG_GONE, 0, "no such PG");
    (void)pthread_mutex_lock(&k->mu);
    for (uint32_t i = 0; i < k->pg_count; i++)
        if (k->origins[i].key.table_id == pg->table_id && k->origins[i].key.part_id == pg->part_id) {
            *out = k->origins[i];
            code = OBV_OK;
        }
    if (k->rpc_fails)
        code = obv_fail(err, OBV_E_UNAVAILABLE, 0, "OBServer is away");
    (void)pthread_mutex_unlock(&k->mu);
    return code;
}

static inline obv_code kit_sample(void *ctx, const obv_cancel *c, obv_archive_sampled *out, obv_err *err)
{
    (void)c;
    kit *k = ctx;
    (void)pthread_mutex_lock(&k->mu);
    k->samplings++;
    obv_code code = OBV_OK;
    if (k->sql_fails) {
        code = obv_fail(err, OBV_E_UNAVAILABLE, 0, "SQL is away");
    } else {
        out->began_at = obv_now_us();
        out->rows = malloc((k->pg_count + 1) * sizeof *out->rows);
        assert_non_null(out->rows);
        memcpy(out->rows, k->rows, k->pg_count * sizeof *out->rows);
        out->count = k->pg_count;
        out->ended_at = obv_now_us();
        out->oldest_clog_file = 1;
    }
    (void)pthread_mutex_unlock(&k->mu);
    return code;
}

static inline obv_code kit_poll(void *ctx, const obv_cancel *c, obv_archive_polled *out, obv_err *err)
{
    (void)c, (void)err;
    kit *k = ctx;
    (void)pthread_mutex_lock(&k->mu);
    k->polls++;
    out->rows = malloc((k->pg_count + 1) * sizeof *out->rows);
    assert_non_null(out->rows);
    memcpy(out->rows, k->windows, k->pg_count * sizeof *out->rows);
    out->count = k->pg_count;
    out->one_phase_commit = k->one_phase_commit;
    for (uint32_t i = 0; i < k->pg_count && k->flaps; i++)
        out->rows[i].leader_epoch = 100 + k->polls;
    (void)pthread_mutex_unlock(&k->mu);
    return OBV_OK;
}

static inline void kit_open_store(kit *k)
{
    const obv_store_option o[] = {{"root", k->root}};
    const obv_store_config cfg = {.plugin_path = FILE_PLUGIN, .options = o, .option_count = 1};
    obv_err err = {0};
    if (obv_store_open(&cfg, &k->store, &err) != OBV_OK)
        fail_msg("%s", err.msg);
}

static inline kit *kit_new(void)
{
    kit *k = calloc(1, sizeof *k);
    assert_non_null(k);
    k->m = maker_new();
    (void)strcpy(k->root, "/tmp/logs-repo-XXXXXX");
    assert_non_null(mkdtemp(k->root));
    (void)pthread_mutex_init(&k->mu, NULL);
    k->hooks = (obv_archive_hooks){.ctx = k, .origin = kit_origin, .sample = kit_sample, .poll = kit_poll};
    kit_open_store(k);
    return k;
}

/* A PG whose replay point is log first_log - 1. */
static inline uint32_t kit_pg(kit *k, uint64_t first_log)
{
    const uint32_t i = k->pg_count;
    const obv_pg_key key = kit_key(i);
    assert_int_equal(maker_pg_add(k->m, &key, first_log, first_log == 1 ? 0 : 1000 + i), i);
    (void)pthread_mutex_lock(&k->mu);
    k->pg_count++;
    k->assign[i] = (obv_archive_assign){.pg = key, .epoch = 1};
    k->origins[i] = (obv_archive_origin){.key = key,
                                         .base = {.start_log_id = first_log,
                                                  .start_ts = 1690000000000000,
                                                  .snapshot_version = 1680000000000000,
                                                  .log_submit_ts = 1690000000000000,
                                                  .clog_epoch_id = 1600000000000000,
                                                  .accum = first_log == 1 ? 0 : 1000 + i}};
    k->rows[i] = (obv_archive_row){.table_id = key.table_id,
                                   .partition_id = key.part_id,
                                   .last_log_id = first_log - 1,
                                   .leader_epoch = 77,
                                   .leader = true,
                                   .has_stat = true,
                                   .has_readable = true,
                                   .has_epoch = true};
    k->windows[i] = (obv_archive_window){.table_id = key.table_id,
                                         .partition_id = key.part_id,
                                         .leader_epoch = 77,
                                         .start_id = first_log,
                                         .leader = true,
                                         .has_stat = true};
    (void)pthread_mutex_unlock(&k->mu);
    return i;
}

#define KIT_DATE(piece) ((int64_t)(20221000 + (piece)))

static inline void kit_folder(const kit *k, uint64_t piece, char *out, size_t cap)
{
    const int n =
        snprintf(out, cap, "%s/obstandin/1/incarnation_1/%llu/clog/3", k->root, (unsigned long long)KIT_TENANT);
    if (piece)
        (void)snprintf(out + n, cap - (size_t)n, "_%llu_%lld", (unsigned long long)piece, (long long)KIT_DATE(piece));
}

/* backup_piece_info as the coordinator stores it before agents hear of a piece: pieces 1 (of another round) to `last`.
 */
static inline void kit_list_pieces(kit *k, uint64_t last)
{
    obv_archive_piece *p = calloc(last + 1, sizeof *p);
    assert_non_null(p);
    for (uint64_t i = 0; i < last; i++)
        p[i] = (obv_archive_piece){.incarnation = 1,
                                   .tenant_id = KIT_TENANT,
                                   .round = i + 1 < k->first_piece ? 2 : 3,
                                   .piece_id = (int64_t)i + 1,
                                   .create_date = KIT_DATE(i + 1),
                                   .max_ts = INT64_MAX,
                                   .status = i + 1 == last   ? OBV_PIECE_ACTIVE
                                             : i + 2 == last ? OBV_PIECE_FREEZING
                                                             : OBV_PIECE_FROZEN,
                                   .compatible = 1,
                                   .start_piece_id = (int64_t)k->first_piece};
    OBV_AUTO(obv_buf_fini) obv_buf b = obv_buf_heap(1u << 20);
    obv_archive_pieces_emit(p, last, &b);
    char key[128];
    (void)snprintf(key, sizeof key, "obstandin/1/incarnation_1/%llu/clog/backup_piece_info",
                   (unsigned long long)KIT_TENANT);
    obv_err err = {0};
    if (obv_store_put_bytes(k->store, key, false, obv_buf_span(&b), NULL, &err) != OBV_OK)
        fail_msg("%s", err.msg);
    free(p);
}

static inline void kit_apply(kit *k, bool stop)
{
    obv_err err = {0};
    for (uint32_t first = 0; first < k->pg_count || first == 0; first += 20) {
        const uint32_t left = k->pg_count - first;
        const obv_archive_page page = {.revision = k->revision,
                                       .cluster_name = "obstandin",
                                       .cluster_id = 1,
                                       .round = 3,
                                       .piece = k->piece,
                                       .piece_date = k->piece ? KIT_DATE(k->piece) : 0,
                                       .total = k->pg_count,
                                       .first = first,
                                       .pgs = k->assign + first,
                                       .pg_count = left < 20 ? left : 20,
                                       .stop = stop,
                                       .flush_ms = 20,
                                       .compressor = OBV_ARCHIVE_LZ4};
        if (obv_archive_apply(k->job, &page, &err) != OBV_OK)
            fail_msg("%s", err.msg);
    }
}

static inline void kit_start(kit *k)
{
    const obv_archive_config cfg = {
        .store = k->store, .store_dir = k->m->dir, .sample_ms = 20, .batch_bytes = 4u << 20, .fast_proof = k->fast};
    obv_err err = {0};
    if (obv_archive_start_with(&cfg, &k->hooks, &k->job, &err) != OBV_OK)
        fail_msg("%s", err.msg);
    k->revision++;
    kit_apply(k, false);
}

static inline void kit_end(kit *k)
{
    obv_archive_end(k->job);
    k->job = NULL;
}

static inline void kit_free(kit *k)
{
    char cmd[128];
    kit_end(k);
    obv_store_close(k->store);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", k->root);
    assert_int_equal(system(cmd), 0);
    maker_free(k->m);
    (void)pthread_mutex_destroy(&k->mu);
    free(k);
}

static inline void kit_epoch(kit *k)
{
    for (uint32_t i = 0; i < k->pg_count; i++)
        k->assign[i].epoch++;
}

/* What the OBServer says from now on: everything committed so far is the end of each PG's log, readable up to `w`. */
static inline void kit_readable(kit *k, int64_t w)
{
    (void)pthread_mutex_lock(&k->mu);
    for (uint32_t i = 0; i < k->pg_count; i++) {
        k->rows[i].readable_ts = w;
        k->rows[i].last_log_id = k->m->pgs[i].next - 1;
    }
    (void)pthread_mutex_unlock(&k->mu);
}

static inline obv_archive_tenant kit_report(kit *k)
{
    obv_archive_tenant t[OBV_ARCHIVE_MAX_TENANTS];
    const size_t n = obv_archive_report(k->job, t);
    assert_true(n <= 1);
    return n ? t[0] : (obv_archive_tenant){0};
}

/* Waits until all that is committed is durable and readable up to w. */
static inline obv_archive_tenant kit_wait(kit *k, int64_t w)
{
    kit_readable(k, w);
    for (int i = 0; i < 1500; i++) {
        const obv_archive_tenant t = kit_report(k);
        if (t.checkpoint_min >= w && t.revision == k->revision && t.pgs == k->pg_count)
            return t;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    const obv_archive_tenant t = kit_report(k);
    fail_msg("no checkpoint: state %d, %u of %u PGs started, %u sampled, %s", (int)t.state, t.pgs_started, t.pgs,
             t.pgs_sampled, t.error.msg);
    return t;
}

/* ---- reading what lies in the folder */

static inline void kit_piece_path(const kit *k, uint64_t piece, const char *kind, uint32_t pg, char *out, size_t cap)
{
    const obv_pg_key key = kit_key(pg);
    char folder[256];
    kit_folder(k, piece, folder, sizeof folder);
    (void)snprintf(out, cap, "%s/%s/%llu%c%lld", folder, kind, (unsigned long long)key.table_id,
                   strcmp(kind, "archive_key") == 0 ? '_' : '/', (long long)key.part_id);
}

static inline void kit_path(const kit *k, const char *kind, uint32_t pg, char *out, size_t cap)
{
    kit_piece_path(k, k->piece, kind, pg, out, cap);
}

static inline obv_buf kit_file(const char *path)
{
    obv_buf b = obv_buf_heap(80u << 20);
    FILE *f = fopen(path, "rb");
    if (!f)
        return b;
    char chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        obv_buf_append(&b, chunk, n);
    (void)fclose(f);
    assert_false(b.failed);
    return b;
}

static inline uint64_t kit_max_id(const char *dir)
{
    uint64_t max = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (const struct dirent *e; (e = readdir(d));) {
        const uint64_t id = strtoull(e->d_name, NULL, 10);
        if (id > max)
            max = id;
    }
    (void)closedir(d);
    return max;
}

typedef struct kit_seen {
    uint64_t last_log_id;
    uint64_t data_files, index_files; /* of the last piece */
    unsigned blocks, kickoffs, duplicates, logs, pieces;
    int64_t accum;
} kit_seen;

/* Entries of one block, by OceanBase's rules: duplicates are skipped, a gap is fatal. */
static inline void kit_entries(obv_span raw, const obv_pg_key *key, int64_t *ts, kit_seen *s, uint64_t *last_in_block)
{
    for (size_t at = 0; at < raw.len;) {
        obv_clog_entry e;
        assert_int_equal(obv_clog_entry_parse(obv_span_of(raw.p + at, raw.len - at), &e, NULL), OBV_OK);
        assert_int_equal(obv_clog_entry_check_data(&e, obv_span_of(raw.p + at + 105, raw.len - at - 105), NULL),
                         OBV_OK);
        assert_true(obv_pg_key_equal(&e.pg, key));
        at += 105 + e.data_len;
        if (e.type == OBV_ENTRY_ARCHIVE_KICKOFF) {
            s->kickoffs++;
            *last_in_block = e.log_id - 1;
            continue;
        }
        *last_in_block = e.log_id;
        if (e.log_id <= s->last_log_id) {
            s->duplicates++;
            continue;
        }
        assert_int_equal(e.log_id, s->last_log_id + 1);
        if (!obv_clog_type_is_nop(e.type))
            assert_true(e.submit_ts > *ts);
        *ts = e.submit_ts;
        s->last_log_id = e.log_id;
        s->accum = obv_clog_accum(s->accum, e.data_checksum);
        s->logs++;
    }
}

/* archive_key of one piece: where the PG was when it got there. */
static inline bool kit_read_key(const kit *k, uint64_t piece, uint32_t pg, obv_archive_key *out)
{
    char path[512];
    kit_piece_path(k, piece, "archive_key", pg, path, sizeof path);
    if (access(path, F_OK) != 0)
        return false;
    obv_buf file = kit_file(path);
    if (obv_archive_key_parse(obv_buf_span(&file), out, NULL) != OBV_OK)
        fail_msg("archive_key of PG %u in piece %llu", pg, (unsigned long long)piece);
    obv_buf_fini(&file);
    return true;
}

/* Data and index files of one piece. */
static inline void kit_read_piece(const kit *k, uint64_t piece, uint32_t pg, const obv_archive_base *start, int64_t *ts,
                                  kit_seen *s)
{
    char path[512], dir[400];
    const obv_pg_key pkey = kit_key(pg);
    kit_piece_path(k, piece, "data", pg, dir, sizeof dir);
    s->data_files = kit_max_id(dir);
    uint64_t file_min[64] = {0}, file_max[64] = {0};
    bool exists[64] = {0};
    obv_buf scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    for (uint64_t id = 1; id <= s->data_files && id < 64; id++) {
        (void)snprintf(path, sizeof path, "%s/%llu", dir, (unsigned long long)id);
        obv_buf file = kit_file(path);
        assert_true(file.len <= OBV_ARCHIVE_FILE_MAX);
        exists[id] = access(path, F_OK) == 0;
        for (size_t at = 0; at < file.len;) {
            obv_archive_block b;
            const obv_span in = obv_span_of(file.data + at, file.len - at);
            if (in.len < OBV_ARCHIVE_BLOCK_HEADER)
                break;
            if (obv_archive_block_parse(in, &b, NULL) != OBV_OK)
                fail_msg("PG %u file %llu at %zu: not a block", pg, (unsigned long long)id, at);
            if (in.len < b.total_len + OBV_ARCHIVE_BLOCK_TAIL)
                break;
            obv_span raw;
            assert_int_equal(
                obv_archive_payload_unpack(obv_span_of(in.p + 104, b.total_len - 104), &scratch, &raw, NULL), OBV_OK);
            assert_int_equal(obv_crc64(0, obv_span_of(in.p + 104, b.total_len - 104)), b.data_checksum);
            const uint64_t before = s->last_log_id;
            uint64_t last = 0;
            kit_entries(raw, &pkey, ts, s, &last);
            assert_int_equal(b.max_log_id, last);
            if (s->last_log_id > before)
                assert_int_equal(b.accum, s->accum);
            if (file_min[id] == 0)
                file_min[id] = b.min_log_id_in_file;
            assert_int_equal(b.min_log_id_in_file, file_min[id]);
            file_max[id] = last;
            s->blocks++;
            at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
        }
        obv_buf_fini(&file);
    }
    obv_buf_fini(&scratch);

    kit_piece_path(k, piece, "index", pg, dir, sizeof dir);
    s->index_files = kit_max_id(dir);
    uint64_t last_indexed = 0;
    for (uint64_t id = 1; id <= s->index_files; id++) {
        (void)snprintf(path, sizeof path, "%s/%llu", dir, (unsigned long long)id);
        obv_buf file = kit_file(path);
        for (size_t at = 0; at + OBV_ARCHIVE_INDEX_RECORD <= file.len; at += OBV_ARCHIVE_INDEX_RECORD) {
            obv_archive_index r;
            assert_int_equal(obv_archive_index_parse(obv_span_of(file.data + at, 144), &r, NULL), OBV_OK);
            assert_true(r.data_file_id > last_indexed);
            last_indexed = r.data_file_id;
            assert_int_equal(r.start.start_log_id, start->start_log_id);
            if (r.effective && r.data_file_id < 64) {
                assert_int_equal(r.min_log_id, file_min[r.data_file_id]);
                assert_true(r.max_log_id <= file_max[r.data_file_id]);
            }
        }
        obv_buf_fini(&file);
    }
    unsigned unindexed = 0;
    for (uint64_t id = last_indexed + 1; id < 64; id++)
        unindexed += exists[id];
    /* restore finds unindexed data only in the last file; a piece that was left has every file closed */
    assert_true(unindexed <= (piece == k->piece || k->stale_writers ? 1 : 0));
}

/* The key of a later piece against what the pieces before hold. */
static inline void kit_check_later_key(const kit *k, const obv_archive_key *key, const obv_archive_base *start,
                                       const kit_seen *s)
{
    assert_false(key->first_piece);
    assert_memory_equal(&key->state.start, start, sizeof *start);
    if (k->stale_writers) {
        assert_true(key->state.max_log_id <= s->last_log_id);
        return;
    }
    assert_int_equal(key->state.max_log_id, s->last_log_id);
    assert_int_equal(key->state.accum, s->accum);
    assert_int_equal(key->max_index_file_id, s->index_files);
    assert_int_equal(key->state.data_file_id, s->data_files);
    if (key->state.effective)
        assert_true(key->state.min_log_id <= key->state.max_log_id && s->data_files > 0);
    else
        assert_int_equal(key->state.min_log_id, key->state.max_log_id);
}

/* Follows a PG from its first archive_key to its end as OceanBase's restore does: through its pieces, none left out. */
static inline kit_seen kit_read(const kit *k, uint32_t pg)
{
    kit_seen s = {0};
    obv_archive_base start = {0};
    int64_t ts = 0;
    bool begun = false, ended = false;
    for (uint64_t piece = k->first_piece; piece <= k->piece; piece++) {
        obv_archive_key key;
        if (!kit_read_key(k, piece, pg, &key)) {
            ended = begun;
            continue;
        }
        assert_false(ended);
        if (!begun) {
            assert_true(key.first_piece);
            start = key.state.start;
            s.last_log_id = key.state.max_log_id;
            s.accum = key.state.accum;
            ts = key.state.max_log_submit_ts;
            begun = true;
        } else {
            kit_check_later_key(k, &key, &start, &s);
        }
        const unsigned kickoffs = s.kickoffs;
        kit_read_piece(k, piece, pg, &start, &ts, &s);
        assert_true(key.first_piece || s.kickoffs == kickoffs);
        s.pieces++;
    }
    if (!begun)
        fail_msg("no archive_key of PG %u", pg);
    return s;
}

/* Every PG: complete to its last committed log, no hole. */
static inline void kit_check_all(const kit *k)
{
    for (uint32_t i = 0; i < k->pg_count; i++) {
        const kit_seen s = kit_read(k, i);
        assert_int_equal(s.last_log_id, k->m->pgs[i].next - 1);
        assert_true(s.kickoffs >= 1);
    }
}

#endif
