/* A tree made by hand: it is good; then whatever is changed in it is found, and told apart from what only looks bad. */
#include "verify_tree.h"

static int setup(void **state)
{
    *state = vt_make();
    return 0;
}

static int teardown(void **state)
{
    vt_free(*state);
    return 0;
}

static void a_good_tree_has_no_finding(void **state)
{
    struct vt *t = *state;
    t->print = true;
    assert_int_equal(vt_verify(t), 0);
    assert_int_equal(t->stats.found[OBV_VERIFY_LEFTOVER], 0);
    assert_int_equal(t->stats.found[OBV_VERIFY_UNREADABLE], 0);
    assert_true(t->stats.ours);
    assert_int_equal(t->stats.objects, t->count);
    assert_int_equal(t->stats.sets, 1);
    assert_int_equal(t->stats.pgs, 2);
    assert_int_equal(t->stats.blocks, 4);
    assert_int_equal(t->stats.archived_pgs, 2);
    assert_int_equal(t->stats.logs, 40);
    obv_err err = {0};
    assert_int_equal(vt_verify_as(t, OBV_VERIFY_LISTS, 0, &err), OBV_OK);
    assert_int_equal(obv_verify_damage(&t->stats), 0);
    assert_int_equal(t->stats.blocks, 0);
    assert_int_equal(vt_verify_as(t, OBV_VERIFY_DEEP, 1, &err), OBV_OK);
    assert_int_equal(t->stats.logs, 0);
    assert_int_equal(vt_verify_as(t, OBV_VERIFY_DEEP, 2, &err), OBV_E_NOT_FOUND);
}

/* All bytes of small files, of headers and tails; of the rest every 197th. */
static void a_changed_byte_is_found_wherever_it_is(void **state)
{
    struct vt *t = *state;
    size_t tried = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct vt_file *f = &t->files[i];
        (void)strcpy(t->wanted, f->key);
        for (size_t at = 0; at < f->bytes.len;) {
            const uint8_t mask = (uint8_t)(1u << (tried % 8));
            f->bytes.data[at] ^= mask;
            if (vt_verify(t) == 0)
                fail_msg("%s: byte %zu ^ %02x is not found", f->key, at, mask);
            if (!t->met)
                fail_msg("%s: byte %zu ^ %02x: only \"%s\" of %s", f->key, at, mask, t->first_text, t->first_object);
            if (t->met_at > (int64_t)at)
                fail_msg("%s: byte %zu is reported at %" PRId64, f->key, at, t->met_at);
            f->bytes.data[at] ^= mask;
            tried++;
            at += at < 64 || at + 8 > f->bytes.len || f->bytes.len < 120 ? 1 : 197;
        }
    }
    print_message("%zu bytes changed\n", tried);
    assert_true(tried > 2000);
}

static void an_object_that_is_gone_is_missed(void **state)
{
    struct vt *t = *state;
    /* the last data file of a PG: its log simply ends earlier */
    static const char *const NOBODY_ASKS[] = {"tenant_diagnose_info", "clog_info/1_", "repository.json",
                                              "/data/1100611139403781/0/2", "/data/1100611139453781/3/2"};
    for (size_t i = 0; i < t->count; i++) {
        struct vt_file kept = t->files[i];
        t->files[i] = t->files[--t->count];
        bool optional = false;
        for (size_t k = 0; k < sizeof NOBODY_ASKS / sizeof *NOBODY_ASKS; k++)
            optional |= strstr(kept.key, NOBODY_ASKS[k]) != NULL;
        if ((vt_verify(t) > 0) == optional)
            fail_msg("%s: %" PRIu64 " findings when it is gone", kept.key, obv_verify_damage(&t->stats));
        t->files[t->count++] = t->files[i];
        t->files[i] = kept;
    }
    assert_int_equal(vt_verify(t), 0);
}

static void a_cut_object_is_found(void **state)
{
    struct vt *t = *state;
    for (size_t i = 0; i < t->count; i++) {
        struct vt_file *f = &t->files[i];
        const size_t len = f->bytes.len;
        const bool grows = strstr(f->key, "/clog/1/data/") || strstr(f->key, "/clog/1/index/");
        for (size_t cut = 1; cut <= len; cut += cut < 60 ? 7 : len / 5 + 1) {
            f->bytes.len = len - cut;
            const uint64_t damage = vt_verify(t);
            const uint64_t left = t->stats.found[OBV_VERIFY_LEFTOVER];
            /* what only grows may have a torn tail or end earlier; nothing else may */
            if (damage == 0 && !(grows && (left > 0 || strstr(f->key, "/2"))))
                fail_msg("%s: the last %zu bytes are gone, and nothing is found", f->key, cut);
        }
        f->bytes.len = len;
    }
}

static void bytes_behind_the_end_are_found(void **state)
{
    struct vt *t = *state;
    for (size_t i = 0; i < t->count; i++) {
        struct vt_file *f = &t->files[i];
        const size_t len = f->bytes.len;
        if (strstr(f->key, "/clog/1/data/") || strstr(f->key, "/clog/1/index/"))
            continue; /* a torn tail */
        obv_buf_append(&f->bytes, "x", 1);
        if (vt_verify(t) == 0)
            fail_msg("%s: a byte more is not found", f->key);
        f->bytes.len = len;
    }
}

/* ---- whole objects that say the wrong thing */

static const char *const MAJOR_INDEX = VT_SET "/data/1100611139453781/3/major_data/macro_block_index_1";
static const char *const MAJOR_BLOCKS = VT_SET "/data/1100611139453781/3/major_data/macro_block_1.0";
static const char *const LOG_1 = VT_CP "/1001/clog/1/data/1100611139453781/3/1";
static const char *const LOG_2 = VT_CP "/1001/clog/1/data/1100611139453781/3/2";

static void must_find(struct vt *t, enum obv_verify_class class, const char *object, const char *text)
{
    if (vt_verify(t) == 0)
        fail_msg("nothing found, \"%s\" expected", text);
    if (t->first.class != class || strcmp(t->first_object, object) != 0 || !strstr(t->first_text, text))
        fail_msg("%s %s: %s; expected: %s", obv_verify_class_name(t->first.class), t->first_object, t->first_text,
                 text);
}

static void must_be_left_over(struct vt *t, uint64_t n)
{
    t->print = true;
    assert_int_equal(vt_verify(t), 0);
    assert_int_equal(t->stats.found[OBV_VERIFY_LEFTOVER], n);
}

static void an_old_state_of_a_file_is_found(void **state)
{
    struct vt *t = *state;
    const struct vt_file *sys = vt_find(t, VT_SET "/data/1100611139403781/0/major_data/macro_block_index_1");
    assert_non_null(sys);
    /* the index of a PG without blocks: a good file, but not this PG's */
    struct vt_file *f = vt_find(t, MAJOR_INDEX);
    obv_buf_fini(&f->bytes);
    f->bytes = obv_buf_heap(1 << 20);
    obv_put_span(&f->bytes, obv_buf_span(&sys->bytes));
    must_find(t, OBV_VERIFY_INCONSISTENT, MAJOR_INDEX, "lacks table");
}

static void a_block_that_no_index_names_is_left_over(void **state)
{
    struct vt *t = *state;
    obv_put_span(vt_new(t, VT_SET "/data/1100611139453781/3/major_data/macro_block_1.10000"),
                 obv_buf_span(&vt_find(t, MAJOR_BLOCKS)->bytes));
    must_be_left_over(t, 1);
}

static void a_lost_attempt_is_left_over_but_still_read(void **state)
{
    struct vt *t = *state;
    static const char OTHER[] = VT_SET "/data/1100611139453781/3/minor_data/7/macro_block_1.0";
    obv_put_span(vt_new(t, OTHER),
                 obv_buf_span(&vt_find(t, VT_SET "/data/1100611139453781/3/minor_data/0/macro_block_1.0")->bytes));
    must_be_left_over(t, 1);
    vt_find(t, OTHER)->bytes.data[300] ^= 1;
    must_find(t, OBV_VERIFY_DAMAGED, OTHER, "");
}

static void a_second_pass_is_read_and_a_gap_of_passes_found(void **state)
{
    struct vt *t = *state;
    static const char PASS[] = VT_SET "/data/1100611139453781/3/major_data/macro_block_index_1.1";
    obv_put_end_mark(vt_new(t, PASS)); /* a pass that found no new table */
    assert_int_equal(vt_verify(t), 0);
    vt_remove(t, PASS);
    static const char GAP[] = VT_SET "/data/1100611139453781/3/major_data/macro_block_index_1.2";
    obv_put_end_mark(vt_new(t, GAP));
    must_find(t, OBV_VERIFY_INCONSISTENT, GAP, "pass 2 where pass 1 is next");
}

static void names_of_no_rule_are_unlisted(void **state)
{
    struct vt *t = *state;
    static const char *const NAMES[] = {VT_CP "/hello",
                                        VT_CP "/1001/data/backup_set_01_full_20261125/backup_set_info",
                                        VT_SET "/backup_2/sys_pg_list",
                                        VT_SET "/data/1100611139453781/3/major_data/macro_block_2.0",
                                        VT_CP "/1001/clog/1/data/1100611139453781/3/01",
                                        VT_CP "/1001/clog/1_0/single_piece_info",
                                        VT_CP "/obvault/unknown"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        obv_buf_append(vt_new(t, NAMES[i]), "x", 1);
        must_find(t, OBV_VERIFY_UNLISTED, NAMES[i], "");
        vt_remove(t, NAMES[i]);
    }
    obv_buf_append(vt_new(t, VT_CP "/tenant_info.tmp.123"), "x", 1);
    must_be_left_over(t, 1);
}

static void a_pg_that_is_listed_and_not_there_is_found(void **state)
{
    struct vt *t = *state;
    static const char LIST[] = VT_SET "/backup_1/normal_pg_list";
    obv_err err = {0};
    obv_pg_key keys[2] = {vt_pg(1), vt_pg(1)};
    keys[1].part_id = 4;
    vt_remove(t, LIST);
    assert_code(obv_put_pg_list(vt_new(t, LIST), keys, 2, &err), OBV_OK, &err);
    must_find(t, OBV_VERIFY_INCONSISTENT, VT_SET "/backup_1/meta_index_file", "lacks PG 1100611139453781/4");
}

static void a_dropped_pg_leaves_its_files_over(void **state)
{
    struct vt *t = *state;
    static const char LIST[] = VT_SET "/backup_1/normal_pg_list";
    obv_err err = {0};
    vt_remove(t, LIST);
    assert_code(obv_put_pg_list(vt_new(t, LIST), NULL, 0, &err), OBV_OK, &err);
    vt_verify(t);
    assert_true(t->stats.found[OBV_VERIFY_LEFTOVER] >= 4);                  /* two indexes, two block files */
    assert_string_equal(t->first_object, VT_SET "/single_backup_set_info"); /* whose sums are now wrong */
}

static void blocks_of_an_older_set_are_followed(void **state)
{
    struct vt *t = *state;
    vt_add_incremental(t);
    t->print = true;
    assert_int_equal(vt_verify(t), 0);
    assert_int_equal(t->stats.sets, 2);
    t->print = false;
    struct vt_file *f = vt_find(t, MAJOR_BLOCKS);
    const struct vt_file good = *f;
    /* the full's block is another one now: good by itself, not what the incremental's index says */
    obv_buf other = obv_buf_heap(1 << 20);
    obv_put_span(&other,
                 obv_buf_span(&vt_find(t, VT_SET "/data/1100611139453781/3/minor_data/0/macro_block_1.0")->bytes));
    f->bytes = other;
    obv_err err = {0};
    assert_code(vt_verify_as(t, OBV_VERIFY_DEEP, 2, &err), OBV_OK, &err);
    assert_int_equal(t->first.class, OBV_VERIFY_DAMAGED);
    assert_string_equal(t->first_object, MAJOR_BLOCKS);
    obv_buf_fini(&other);
    f->bytes = good.bytes;
    vt_remove(t, VT_SET "/single_backup_set_info");
    assert_code(vt_verify_as(t, OBV_VERIFY_DEEP, 2, &err), OBV_OK, &err);
    assert_true(t->stats.found[OBV_VERIFY_MISSING] >= 2); /* the set's file, and each block of its that is needed */
}

/* ---- log */

static void a_missing_data_file_is_a_gap(void **state)
{
    struct vt *t = *state;
    vt_remove(t, LOG_1);
    must_find(t, OBV_VERIFY_INCONSISTENT, LOG_2, "logs 11 to 15 are missing");
}

static void an_archive_key_without_log_is_found_where_a_set_needs_it(void **state)
{
    struct vt *t = *state;
    vt_remove(t, LOG_1);
    vt_remove(t, LOG_2);
    vt_remove(t, VT_CP "/1001/clog/1/index/1100611139453781/3/1");
    must_find(t, OBV_VERIFY_MISSING, LOG_1, "no log of the PG, which a set needs");
}

static void duplicates_of_a_late_writer_hurt_nobody(void **state)
{
    struct vt *t = *state;
    obv_buf *b = &vt_find(t, LOG_1)->bytes;
    int64_t accum = 4711;
    vt_block_of_logs(b, 1, 11, 14, VT_LAST_LOG, &accum); /* the same logs once more */
    t->print = true;
    assert_int_equal(vt_verify(t), 0);
}

static void log_of_another_pg_is_found(void **state)
{
    struct vt *t = *state;
    int64_t accum = 0;
    vt_block_of_logs(&vt_find(t, LOG_2)->bytes, 0, 31, 31, 16, &accum);
    must_find(t, OBV_VERIFY_DAMAGED, LOG_2, "log 31 is of PG");
}

static void a_wrong_accumulated_checksum_is_found(void **state)
{
    struct vt *t = *state;
    int64_t accum = 12345;
    vt_block_of_logs(&vt_find(t, LOG_2)->bytes, 1, 31, 31, 16, &accum);
    must_find(t, OBV_VERIFY_INCONSISTENT, LOG_2, "accumulated checksum");
}

static void a_set_before_the_archive_is_found(void **state)
{
    struct vt *t = *state;
    static const char *const DIRS[] = {"/1001/clog/1/data/", "/1001/clog/1/index/", "/1001/clog/1/archive_key/"};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < t->count; i++)
            if (strstr(t->files[i].key, DIRS[k]) && strstr(t->files[i].key, "1100611139453781")) {
                char key[256];
                (void)strcpy(key, t->files[i].key);
                vt_remove(t, key);
                i = (size_t)-1;
            }
    must_find(t, OBV_VERIFY_MISSING, VT_CP "/1001/clog", "set 1 needs the log of PG 1100611139453781/3 behind 10");
}

/* ---- storage */

static void what_cannot_be_read_is_never_called_damage(void **state)
{
    struct vt *t = *state;
    for (size_t i = 0; i < t->count; i++) {
        obv_err err = {0};
        t->files[i].fails = OBV_E_IO;
        assert_code(vt_verify_as(t, OBV_VERIFY_DEEP, 0, &err), OBV_OK, &err);
        if (t->stats.found[OBV_VERIFY_UNREADABLE] == 0)
            fail_msg("%s: unreadable, and nobody says so", t->files[i].key);
        if (t->stats.found[OBV_VERIFY_DAMAGED] != 0 || t->first.class != OBV_VERIFY_UNREADABLE)
            fail_msg("%s: unreadable, called %s: %s", t->files[i].key, obv_verify_class_name(t->first.class),
                     t->first_text);
        t->files[i].fails = OBV_OK;
    }
}

static void a_storage_that_is_away_ends_the_run(void **state)
{
    struct vt *t = *state;
    obv_err err = {0};
    for (size_t i = 0; i < t->count; i++)
        t->files[i].fails = OBV_E_UNAVAILABLE;
    assert_int_equal(vt_verify_as(t, OBV_VERIFY_DEEP, 0, &err), OBV_E_UNAVAILABLE);
    assert_int_equal(obv_verify_damage(&t->stats), 0);
    const size_t count = t->count;
    t->count = 0; /* nothing is mounted there */
    assert_int_equal(vt_verify_as(t, OBV_VERIFY_DEEP, 0, &err), OBV_E_NOT_INITIALISED);
    t->count = count;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_good_tree_has_no_finding),
        T(a_changed_byte_is_found_wherever_it_is),
        T(an_object_that_is_gone_is_missed),
        T(a_cut_object_is_found),
        T(bytes_behind_the_end_are_found),
        T(an_old_state_of_a_file_is_found),
        T(a_block_that_no_index_names_is_left_over),
        T(a_lost_attempt_is_left_over_but_still_read),
        T(a_second_pass_is_read_and_a_gap_of_passes_found),
        T(names_of_no_rule_are_unlisted),
        T(a_pg_that_is_listed_and_not_there_is_found),
        T(a_dropped_pg_leaves_its_files_over),
        T(blocks_of_an_older_set_are_followed),
        T(a_missing_data_file_is_a_gap),
        T(an_archive_key_without_log_is_found_where_a_set_needs_it),
        T(duplicates_of_a_late_writer_hurt_nobody),
        T(log_of_another_pg_is_found),
        T(a_wrong_accumulated_checksum_is_found),
        T(a_set_before_the_archive_is_found),
        T(what_cannot_be_read_is_never_called_damage),
        T(a_storage_that_is_away_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
