/* A PG that is copied more than once in its set: what is in major_data already, whoever put it there */
#include "backup_tree.h"

#include <sys/stat.h>

/* From here on another agent is at work: one whose journal knows nothing. */
static void another_agent(struct kit *k)
{
    char cmd[64];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s/*", k->state_dir);
    assert_int_equal(system(cmd), 0);
}

static void next_pass(struct kit *k)
{
    k->task_id++;
    k->pass++;
    for (size_t pg = 0; pg < KIT_PGS; pg++)
        (void)atomic_fetch_add(&k->shared->state[pg], 1);
}

static void read_file(const struct kit *k, const obv_path *path, obv_buf *out)
{
    obv_store *s = kit_store(k);
    obv_err err = {0};
    const obv_code code = obv_store_get_all(s, path->s, 16 << 20, out, NULL, &err);
    if (code != OBV_OK)
        print_message("%s\n", err.msg);
    assert_int_equal(code, OBV_OK);
    obv_store_close(s);
}

/* ---- what the major indexes list */

struct lists {
    const struct kit *k;
    size_t pg;
    int state;
    uint64_t blocks[KIT_TABLES];
    size_t unknown;
};

static int see_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    struct lists *l = ctx;
    (void)key;
    for (size_t t = 0; t < KIT_TABLES; t++) {
        OBV_AUTO(obv_buf_fini) obv_buf want = obv_buf_heap(4096);
        kit_table_key(l->pg, l->state, t, &want);
        if (obv_span_equal(obv_buf_span(&want), bytes)) {
            assert_int_equal(l->blocks[t], 0); /* no key twice */
            l->blocks[t] = total;
            return 0;
        }
    }
    l->unknown++;
    return 0;
}

static struct lists lists_of(const struct kit *k, size_t pg, int state, enum obv_area area, uint32_t pass)
{
    struct lists l = {.k = k, .pg = pg, .state = state};
    const obv_macro_index_visitor v = {.table = see_table, .ctx = &l};
    const obv_pg_key key = kit_pg(pg);
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(16 << 20);
    obv_path path;
    obv_err err = {0};
    if (area == OBV_AREA_MAJOR)
        obv_path_major_index_file(&k->media, &k->set, &key, pass, &path);
    else
        obv_path_minor_index_file(&k->media, &k->set, &key, k->task_id, 0, &path);
    read_file(k, &path, &file);
    assert_int_equal(obv_macro_index_each(obv_buf_span(&file), &v, &err), OBV_OK);
    return l;
}

/* Pass k->pass lists only what is new, and its minors lie under the task's own number. */
static void pass_lists_what_is_new(const struct kit *k)
{
    const int state = (int)k->pass;
    for (size_t pg = 0; pg < KIT_PGS; pg++) {
        const struct lists major = lists_of(k, pg, state, OBV_AREA_MAJOR, k->pass);
        const struct lists minor = lists_of(k, pg, state, OBV_AREA_MINOR, 0);
        assert_int_equal(major.unknown + minor.unknown, 0);
        for (size_t t = 0; t < KIT_TABLES; t++) {
            const bool is_major = KIT_TYPES[t] == OBV_TABLE_MAJOR, listed = is_major && t == 0 && k->pass > 0;
            assert_int_equal(major.blocks[t], is_major && !listed ? KIT_BLOCKS[pg][t] : 0);
            assert_int_equal(minor.blocks[t], is_major ? 0 : KIT_BLOCKS[pg][t]);
        }
    }
}

/* ---- what the records say */

struct found {
    const struct kit *k;
    int state, first_state; /* of the copy, and of the one that put the first table */
    size_t pgs;
};

static int see_record(void *ctx, const obv_meta_index *e)
{
    struct found *f = ctx;
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(8 << 20);
    obv_path path;
    obv_meta_object o;
    obv_pg_record_reader rec;
    obv_err err = {0};
    size_t pg = 0, t = 0;
    while (kit_pg(pg).table_id != e->table_id)
        pg++;
    obv_path_meta_file(&f->k->media, &f->k->set, f->k->task_id, &path);
    read_file(f->k, &path, &file);
    assert_int_equal(obv_meta_object_parse(obv_span_of(file.data + e->offset, e->len), &o, &err), OBV_OK);
    assert_int_equal(obv_pg_record_parse(o.body, &rec, &err), OBV_OK);
    assert_int_equal(rec.pg.data.schema_version, KIT_SCHEMA + 5);
    for (size_t i = 0; i < rec.partition_count; i++) {
        obv_pg_record_part part;
        assert_int_equal(obv_pg_record_next_partition(&rec, &part, &err), OBV_OK);
        for (size_t n = 0; n < part.table_count; n++, t++) {
            obv_sstable_meta meta;
            obv_table_key key;
            OBV_AUTO(obv_buf_fini) obv_buf want = obv_buf_heap(4096);
            assert_int_equal(obv_pg_record_next_table(&part, &meta, &key, &err), OBV_OK);
            const bool has_blocks = KIT_BLOCKS[pg][t] > 0; /* no index lists a table without any */
            kit_sstable_meta(pg, t == 0 && has_blocks ? f->first_state : f->state, t, &want);
            assert_true(obv_span_equal(meta.bytes, obv_buf_span(&want)));
        }
    }
    assert_int_equal(t, KIT_TABLES);
    f->pgs++;
    return 0;
}

static void records_fit(const struct kit *k, int first_state)
{
    struct found f = {.k = k, .state = (int)k->pass, .first_state = first_state};
    OBV_AUTO(obv_buf_fini) obv_buf index = obv_buf_heap(1 << 20);
    obv_path path;
    obv_err err = {0};
    obv_path_meta_index_file(&k->media, &k->set, k->task_id, &path);
    read_file(k, &path, &index);
    assert_int_equal(obv_meta_index_file_each(obv_buf_span(&index), see_record, &f, &err), OBV_OK);
    assert_int_equal(f.pgs, KIT_PGS);
}

/* ---- reports */

struct told {
    const struct kit *k;
    size_t copied, failed;
    obv_code code;
};

static void see_report(void *ctx, const obv_pg_report *r)
{
    struct told *t = ctx;
    assert_int_equal(r->pass, t->k->pass);
    if (r->error.code != OBV_OK) {
        t->failed++;
        t->code = r->error.code;
        return;
    }
    size_t pg = 0;
    uint64_t blocks = 0;
    while (kit_pg(pg).table_id != r->pg.table_id)
        pg++;
    for (size_t i = 0; i < KIT_TABLES; i++)
        blocks += KIT_BLOCKS[pg][i];
    assert_int_equal(r->result.blocks, blocks); /* also those that an earlier pass has stored */
    assert_int_equal(r->result.blocks_stored, blocks);
    assert_int_equal(r->content_count, 2);
    assert_int_equal(r->contents[0], kit_index_id(pg, 0));
    assert_int_equal(r->contents[1], kit_index_id(pg, 2));
    t->copied++;
}

static struct told reports(const struct kit *k)
{
    struct told t = {.k = k};
    obv_journal *j = NULL;
    obv_err err = {0};
    char path[64];
    (void)snprintf(path, sizeof path, "%s/journal.db", k->state_dir);
    assert_int_equal(obv_journal_open(path, &j, &err), OBV_OK);
    assert_int_equal(obv_journal_reports(j, 128, see_report, &t, &err), OBV_OK);
    obv_journal_close(j);
    return t;
}

static size_t records_left(const struct kit *k)
{
    size_t n = 0;
    obv_err err = {0};
    obv_store *s = kit_store(k);
    obv_path dir = k->media.cp;
    (void)strcat(dir.s, "/obvault/records/");
    assert_int_equal(obv_store_list(s, dir.s, tree_count_one, &n, NULL, &err), OBV_OK);
    obv_store_close(s);
    return n;
}

/* ---- tests */

static void a_later_pass_adds_what_no_earlier_one_lists(void **state)
{
    struct kit *k = *state;
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    pass_lists_what_is_new(k);
    for (int i = 0; i < 3; i++) {
        next_pass(k);
        another_agent(k);
        const long before = atomic_load(&k->shared->blocks_read);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        pass_lists_what_is_new(k);
        assert_int_equal(reports(k).copied, KIT_PGS);
        long want = 0;
        for (size_t pg = 0; pg < KIT_PGS; pg++)
            for (size_t t = 1; t < KIT_TABLES; t++)
                want += (long)KIT_BLOCKS[pg][t];
        assert_int_equal(atomic_load(&k->shared->blocks_read) - before, want);
    }
    assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_DONE);
    records_fit(k, 0);
}

static void a_kill_in_a_later_pass_is_mended(void **state)
{
    (void)state;
    static const char *const POINTS[] = {
        "backup.pg_opened", "backup.minor_file_stored", "backup.major_file_stored",  "backup.before_fencing",
        "backup.fencing",   "backup.record_stored",     "backup.before_major_index", "backup.major_index_stored",
        "backup.task_ended"};
    for (size_t i = 0; i < sizeof POINTS / sizeof *POINTS; i++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        print_message("case: killed at %s\n", POINTS[i]);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        next_pass(k);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, POINTS[i], 1), 100 + 9);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        pass_lists_what_is_new(k);
        assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_DONE);
        records_fit(k, 0);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

/* An agent is gone for ever once some of its fences stand: others are told so, and build on what it has put. */
static void what_a_lost_agent_has_put_is_built_upon(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        print_message("case: lost in pass %d\n", pass);
        if (pass) {
            assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
            next_pass(k);
        }
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, "backup.major_index_stored", 3), 100 + 9);
        another_agent(k);
        k->task_id++; /* a new attempt at the same pass, of a PG that has moved on */
        for (size_t pg = 0; pg < KIT_PGS; pg++)
            (void)atomic_fetch_add(&k->shared->state[pg], 1);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        const struct told t = reports(k);
        size_t same = 0; /* an index of nothing is the same whoever puts it */
        for (size_t pg = 0; pg < KIT_PGS; pg++)
            same += KIT_BLOCKS[pg][2] == 0 && (pass || KIT_BLOCKS[pg][0] == 0);
        assert_int_equal(t.copied, same);
        assert_int_equal(t.failed, KIT_PGS - same);
        assert_int_equal(t.code, OBV_E_FENCED);
        k->task_id++;
        k->pass++;
        another_agent(k);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        assert_int_equal(reports(k).copied, KIT_PGS);
        pass_lists_what_is_new(k);
        another_agent(k); /* and a last one ends the set */
        assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_DONE);
        records_fit(k, 0);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

static void records_go_once_the_metas_are_put(void **state)
{
    struct kit *k = *state;
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    assert_int_equal(records_left(k), KIT_PGS);
    another_agent(k);
    assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_DONE);
    records_fit(k, 0);
    assert_int_equal(records_left(k), 0);
}

static void a_pass_behind_a_gap_is_refused(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        obv_store *s = kit_store(k);
        const obv_pg_key pg = kit_pg(0);
        obv_path path;
        obv_err err = {0};
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        if (gone)
            obv_path_pg_record(&k->media, &k->set, &pg, k->task_id, &path);
        else
            obv_path_major_index_file(&k->media, &k->set, &pg, 0, &path);
        const char *key = path.s;
        assert_int_equal(obv_store_remove(s, &key, 1, NULL, NULL, &err), OBV_OK);
        next_pass(k);
        another_agent(k);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        const struct told t = reports(k);
        assert_int_equal(t.copied, KIT_PGS - 1);
        assert_int_equal(t.failed, 1);
        assert_int_equal(t.code, OBV_E_CORRUPT);
        obv_store_close(s);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_later_pass_adds_what_no_earlier_one_lists),
        cmocka_unit_test(a_kill_in_a_later_pass_is_mended),
        cmocka_unit_test(what_a_lost_agent_has_put_is_built_upon),
        T(records_go_once_the_metas_are_put),
        cmocka_unit_test(a_pass_behind_a_gap_is_refused),
    };
    return cmocka_run_group_tests_name("agent_job.backup_passes", tests, NULL, NULL);
}
