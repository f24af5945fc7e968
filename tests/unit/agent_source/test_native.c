/* The native source: names by rule, objects read in windows, blocks with what no checksum covers. */
#include "base/crc32c.h"
#include "format/media/block_stream.h"
#include "format/media/meta_records.h"
#include "source/native.h"
#include "test.h"

#include <inttypes.h>

/* ---- names */

static void names_are_told_apart(void **state)
{
    (void)state;
#define SET "1001/data/backup_set_12_full_20261125/"
#define OLD "1001/data/backup_set_12/"
    /* clang-format off */
    static const struct { const char *path; enum obv_native_kind kind; } CASES[] = {
        {"tenant_name_info", OBV_NATIVE_TENANT_NAMES},
        {"tenant_info", OBV_NATIVE_TENANT_INFO},
        {"cluster_data_backup_info", OBV_NATIVE_BACKUP_INFO},
        {"cluster_backup_set_file_info", OBV_NATIVE_SET_LIST},
        {"cluster_backup_backup_set_file_info", OBV_NATIVE_SET_COPY_LIST},
        {"cluster_clog_backup_info", OBV_NATIVE_ROUNDS},
        {"cluster_backup_piece_info", OBV_NATIVE_PIECES},
        {"clog_info/3_127.0.0.1_2882", OBV_NATIVE_SERVER_START},
        {"clog_info/3_127.0.0.1", OBV_NATIVE_UNKNOWN},
        {"1/clog/7/mount_file", OBV_NATIVE_MOUNT_FILE},
        {"1001/clog/7/mount_file", OBV_NATIVE_UNKNOWN},
        {"1/clog/7_8_20261125/mount_file", OBV_NATIVE_UNKNOWN},
        {"1001/clog/7/single_piece_info", OBV_NATIVE_SINGLE_PIECE},
        {"1001/clog/7_8_20261125/single_piece_info", OBV_NATIVE_SINGLE_PIECE},
        {"1001/clog/7_8_2026112/single_piece_info", OBV_NATIVE_UNKNOWN},
        {"1001/clog/07/single_piece_info", OBV_NATIVE_UNKNOWN},
        {"1001/clog/7/archive_key/1100611139453777_3", OBV_NATIVE_ARCHIVE_KEY},
        {"1001/clog/7/data/1100611139453777/3/1", OBV_NATIVE_ARCHIVE_DATA},
        {"1001/clog/7/data/1100611139453777/3/0", OBV_NATIVE_UNKNOWN},
        {"1001/clog/7/index/1100611139453777/3/12", OBV_NATIVE_ARCHIVE_INDEX},
        {"1001/clog/7/index/1100611139453777/3/012", OBV_NATIVE_UNKNOWN},
        {"1001/data/tenant_data_backup_info", OBV_NATIVE_BACKUP_INFO},
        {"1001/data/tenant_backup_set_file_info", OBV_NATIVE_SET_LIST},
        {"1001/clog/tenant_clog_backup_info", OBV_NATIVE_ROUNDS},
        {"1001/clog/backup_piece_info", OBV_NATIVE_PIECES},
        {SET "single_backup_set_info", OBV_NATIVE_SINGLE_SET},
        {SET "backup_set_info", OBV_NATIVE_SET_INFO},
        {SET "backup_12/sys_pg_list", OBV_NATIVE_SYS_PG_LIST},
        {SET "backup_12/normal_pg_list", OBV_NATIVE_NORMAL_PG_LIST},
        {SET "backup_12/tenant_locality_info", OBV_NATIVE_LOCALITY},
        {SET "backup_12/tenant_diagnose_info", OBV_NATIVE_DIAGNOSE},
        {SET "backup_12/meta_index_file", OBV_NATIVE_MERGED_INDEX},
        {SET "backup_12/meta_index_file_4", OBV_NATIVE_META_INDEX},
        {SET "backup_12/meta_file_4", OBV_NATIVE_META_FILE},
        {SET "backup_12/meta_file_", OBV_NATIVE_UNKNOWN},
        {SET "data/1100611139453777/3/major_data/macro_block_12.0", OBV_NATIVE_MACRO_DATA},
        {SET "data/1100611139453777/3/major_data/macro_block_index_12", OBV_NATIVE_MACRO_INDEX},
        {SET "data/1100611139453777/3/major_data/macro_block_index_12.1", OBV_NATIVE_MACRO_INDEX},
        {SET "data/1100611139453777/3/major_data/macro_block_index_12.0", OBV_NATIVE_UNKNOWN},
        {SET "data/1100611139453777/3/minor_data/4/macro_block_12.7", OBV_NATIVE_MACRO_DATA},
        {SET "data/1100611139453777/3/minor_data/macro_block_12.7", OBV_NATIVE_UNKNOWN},
        {"1001/data/backup_set_12_20261125/backup_set_info", OBV_NATIVE_UNKNOWN},
        {"1001/data/backup_set_12_full_00000000/backup_set_info", OBV_NATIVE_UNKNOWN},
        {SET "data/1100611139453777/3/macro_block_12.7", OBV_NATIVE_MACRO_DATA},
        {OLD "backup_set_info", OBV_NATIVE_SET_INFO},
        {OLD "backup_12/sys_pg_list", OBV_NATIVE_SYS_PG_LIST},
        {OLD "backup_14/meta_file_4", OBV_NATIVE_META_FILE},
        {OLD "backup_11/meta_file_4", OBV_NATIVE_UNKNOWN},
        {OLD "data/1100611139453777/3/macro_block_14.7", OBV_NATIVE_MACRO_DATA},
        {OLD "data/1100611139453777/3/macro_block_index_14.1", OBV_NATIVE_MACRO_INDEX},
        {OLD "data/1100611139453777/3/macro_block_0.7", OBV_NATIVE_UNKNOWN},
        {OLD "data/1100611139453777/3/major_data/macro_block_12.7", OBV_NATIVE_UNKNOWN},
        {OLD "data/1100611139453777/3/minor_data/4/macro_block_12.7", OBV_NATIVE_UNKNOWN},
        {"1001/data/backup_set_0/backup_set_info", OBV_NATIVE_UNKNOWN},
        {"obvault/repository.json", OBV_NATIVE_OWN},
        {SET "backup_set_info.tmp.1234", OBV_NATIVE_TEMPORARY},
        {SET "backup_set_info.tmp.", OBV_NATIVE_UNKNOWN},
        {"99999999999999999999999/clog/backup_piece_info", OBV_NATIVE_UNKNOWN},
        {"", OBV_NATIVE_UNKNOWN},
        {"1001", OBV_NATIVE_UNKNOWN},
        {"1001/", OBV_NATIVE_UNKNOWN},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_native_name n;
        obv_native_name_parse(CASES[i].path, &n);
        if (n.kind != CASES[i].kind)
            fail_msg("%s is taken for %s", CASES[i].path, obv_native_kind_name(n.kind));
    }
    obv_native_name n;
    obv_native_name_parse(SET "data/1100611139453777/1152921509170249735/minor_data/4/macro_block_12.7", &n);
    assert_int_equal(n.tenant, 1001);
    assert_int_equal(n.set_id, 12);
    assert_int_equal(n.date, 20261125);
    assert_true(n.full && n.minor);
    assert_int_equal(n.partition, INT64_C(1152921509170249735));
    assert_int_equal(n.task, 4);
    assert_int_equal(n.number, 7);
    assert_int_equal(n.inc_id, 12);
    assert_false(n.flat);
    obv_native_name_parse(OLD "data/1100611139453777/3/macro_block_14.7", &n); /* an increment in its full's folder */
    assert_int_equal(n.folder, 12);
    assert_int_equal(n.set_id, 14);
    assert_int_equal(n.date, 0);
    assert_true(n.flat && !n.full && !n.minor);
    obv_native_name_parse(OLD "backup_12/sys_pg_list", &n);
    assert_true(n.full && n.set_id == 12 && n.folder == 12);
    obv_native_name_parse("1001/clog/7_8_20261125/data/1100611139453777/3/9", &n);
    assert_int_equal(n.round, 7);
    assert_int_equal(n.piece, 8);
    assert_int_equal(n.piece_date, 20261125);
    assert_int_equal(n.file_id, 9);
}

/* ---- one object in memory */

struct object {
    obv_buf bytes;
    size_t calls, most; /* greatest read */
    obv_code fails;
};

static obv_code get(void *ctx, const char *key, uint64_t at, void *buf, size_t len, size_t *got, obv_err *err)
{
    struct object *o = ctx;
    o->calls++;
    o->most = len > o->most ? len : o->most;
    if (o->fails != OBV_OK)
        return obv_fail(err, o->fails, 0, "%s", key);
    const size_t left = at < o->bytes.len ? o->bytes.len - (size_t)at : 0;
    *got = len < left ? len : left;
    if (*got > 0)
        memcpy(buf, o->bytes.data + at, *got);
    return OBV_OK;
}

static void a_window_gives_any_stretch_and_stays_small(void **state)
{
    (void)state;
    struct object o = {.bytes = obv_buf_heap(1 << 20)};
    const obv_native_io io = {.ctx = &o, .get = get};
    obv_native_window w = obv_native_window_of(&io, 4096);
    obv_err err = {0};
    obv_span s;
    for (size_t i = 0; i < 100000; i++) {
        const uint8_t byte = (uint8_t)(i * 7 + i / 256);
        obv_buf_append(&o.bytes, &byte, 1);
    }
    obv_native_window_open(&w, "x", o.bytes.len);
    static const struct {
        uint64_t at;
        size_t want, gives;
    } LOOKS[] = {{0, 10, 10},    {5, 4096, 4096}, {4000, 200, 200}, {4090, 4096, 4096}, {99990, 100, 10},
                 {100000, 5, 0}, {200000, 5, 0},  {3, 4000, 4000},  {2, 1, 1},          {50000, 4096, 4096}};
    for (size_t i = 0; i < sizeof LOOKS / sizeof *LOOKS; i++) {
        assert_int_equal(obv_native_look(&w, LOOKS[i].at, LOOKS[i].want, &s, &err), OBV_OK);
        assert_int_equal(s.len, LOOKS[i].gives);
        if (s.len > 0)
            assert_memory_equal(s.p, o.bytes.data + LOOKS[i].at, s.len);
    }
    assert_true(o.most <= 4096 && w.room <= 4096);
    /* it shrank meanwhile: damage, not a short answer */
    o.bytes.len = 60000;
    assert_int_equal(obv_native_look(&w, 90000, 10, &s, &err), OBV_E_CORRUPT);
    o.fails = OBV_E_IO;
    assert_int_equal(obv_native_look(&w, 10, 10, &s, &err), OBV_E_IO);
    obv_native_window_fini(&w);

    o.fails = OBV_OK;
    OBV_AUTO(obv_buf_fini) obv_buf all = obv_buf_heap(1 << 20);
    assert_int_equal(obv_native_read(&io, "x", 60000, &all, &err), OBV_OK);
    assert_int_equal(all.len, 60000);
    all.len = 0;
    assert_int_equal(obv_native_read(&io, "x", 59999, &all, &err), OBV_E_LIMIT);
    obv_buf_fini(&o.bytes);
}

/* ---- blocks */

struct stream {
    struct object o;
    obv_native_io io;
    obv_native_window w;
    obv_native_blocks b;
};

/* Three blocks of 5000 bytes and an end mark: 8192 each, then 4096. */
static void make(struct stream *s, bool ours)
{
    obv_block_writer w = obv_block_writer_of(OBV_FILE_META);
    uint8_t bytes[5000];
    obv_err err = {0};
    *s = (struct stream){.o = {.bytes = obv_buf_heap(1 << 20)}};
    for (int i = 0; i < 3; i++) {
        memset(bytes, 'a' + i, sizeof bytes);
        assert_int_equal(obv_block_writer_add(&w, obv_span_of(bytes, sizeof bytes), &s->o.bytes, NULL, &err), OBV_OK);
        assert_int_equal(obv_block_writer_flush(&w, &s->o.bytes, &err), OBV_OK);
    }
    assert_int_equal(obv_block_writer_end(&w, &s->o.bytes, &err), OBV_OK);
    obv_block_writer_fini(&w);
    s->io = (obv_native_io){.ctx = &s->o, .get = get};
    s->w = obv_native_window_of(&s->io, OBV_NATIVE_BLOCK_MAX);
    s->b = (obv_native_blocks){.w = &s->w, .data_type = OBV_FILE_META, .ours = ours};
}

static void drop(struct stream *s)
{
    obv_native_window_fini(&s->w);
    obv_buf_fini(&s->o.bytes);
}

/* Reads to the end. Good payloads as letters, '!' a note, '#' damage, '.' the end mark. */
static const char *walk(struct stream *s, char out[16], uint64_t *first_bad)
{
    size_t n = 0;
    *first_bad = UINT64_MAX;
    s->b.at = s->b.count = 0;
    s->b.ended = false;
    obv_native_window_open(&s->w, "x", s->o.bytes.len);
    for (;;) {
        obv_native_block block;
        const obv_code code = obv_native_blocks_next(&s->b, &block, NULL);
        assert_true(n < 14);
        if (code == OBV_E_NOT_FOUND)
            break;
        if (code == OBV_E_CORRUPT) {
            out[n++] = '#';
            *first_bad = *first_bad == UINT64_MAX ? block.at : *first_bad;
            continue;
        }
        assert_int_equal(code, OBV_OK);
        if (block.note[0]) {
            out[n++] = '!';
            *first_bad = *first_bad == UINT64_MAX ? block.note_at : *first_bad;
        }
        out[n++] = block.payload.p ? (char)block.payload.p[0] : '.';
    }
    out[n] = '\0';
    return out;
}

static void blocks_are_read_to_the_end_whatever_is_damaged(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why; size_t at; const char *ours, *theirs; uint64_t bad; } CASES[] = {
        {"payload of the second",     8192 + 100,        "a#c.",  "a#c.",  8192},
        {"magic of the second",       8192 + 2,          "a#c.",  "a#c.",  8192},
        {"length of the second",      8192 + 16,         "a#c.",  "a#c.",  8192},
        {"type of the first",         0,                 "#bc.",  "#bc.",  0},
        {"data_version",              8192 + 4,          "a!bc.", "abc.",  8192 + 4},
        {"hole of the header",        8192 + 13,         "a!bc.", "abc.",  8192 + 13},
        {"padding",                   8192 + 48 + 5001,  "a!bc.", "a!bc.", 8192 + 48 + 5001},
        {"last byte of the padding",  2 * 8192 - 1,      "a!bc.", "a!bc.", 2 * 8192 - 1},
        {"end mark, hole",            3 * 8192 + 12,     "abc!.", "abc.",  3 * 8192 + 12},
        {"end mark, padding",         3 * 8192 + 2000,   "abc!.", "abc!.", 3 * 8192 + 2000},
        {"end mark, magic",           3 * 8192 + 2,      "abc#",  "abc#",  3 * 8192},
    };
    /* clang-format on */
    char got[16];
    uint64_t bad = 0;
    for (int ours = 0; ours < 2; ours++) {
        struct stream s;
        make(&s, ours);
        assert_string_equal(walk(&s, got, &bad), "abc.");
        assert_int_equal(s.b.count, 3);
        for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
            print_message("case: %s\n", CASES[i].why);
            s.o.bytes.data[CASES[i].at] ^= 0x40;
            const char *want = ours ? CASES[i].ours : CASES[i].theirs;
            assert_string_equal(walk(&s, got, &bad), want);
            if (strpbrk(want, "!#"))
                assert_int_equal(bad, CASES[i].bad);
            s.o.bytes.data[CASES[i].at] ^= 0x40;
        }
        s.o.bytes.len -= 4096;
        assert_string_equal(walk(&s, got, &bad), "abc#"); /* no end mark */
        s.o.bytes.len += 4096;
        obv_buf_append(&s.o.bytes, "x", 1);
        assert_string_equal(walk(&s, got, &bad), "abc.#"); /* bytes behind it */
        s.o.bytes.len = 9000;
        assert_string_equal(walk(&s, got, &bad), "a#"); /* cut in the middle */
        s.o.bytes.len = 0;
        assert_string_equal(walk(&s, got, &bad), "#");
        s.o.bytes.len = 4096;
        s.o.fails = OBV_E_UNAVAILABLE;
        obv_native_block block;
        obv_err err = {0};
        s.b.at = 0;
        s.b.ended = false;
        obv_native_window_open(&s.w, "x", s.o.bytes.len);
        assert_int_equal(obv_native_blocks_next(&s.b, &block, &err), OBV_E_UNAVAILABLE);
        drop(&s);
    }
}

static void reserved_bytes_of_a_meta_header_are_seen(void **state)
{
    (void)state;
    OBV_AUTO(obv_buf_fini) obv_buf b = obv_buf_heap(4096);
    uint8_t body[300] = {1};
    obv_meta_object o;
    size_t at = 0;
    obv_put_meta_object(&b, OBV_META_TYPE_PG_INFO, obv_span_of(body, sizeof body));
    assert_true(obv_native_meta_reserved_zero(obv_buf_span(&b), &at));
    for (size_t i = 8; i < 14; i++) { /* two bytes of length in front of the header */
        b.data[i] = 1;
        assert_int_equal(obv_meta_object_parse(obv_buf_span(&b), &o, NULL), OBV_OK); /* no checksum covers it */
        assert_false(obv_native_meta_reserved_zero(obv_buf_span(&b), &at));
        assert_int_equal(at, i);
        b.data[i] = 0;
    }
    for (size_t len = 0; len < 14; len++)
        assert_false(obv_native_meta_reserved_zero(obv_span_of(b.data, len), &at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_told_apart),
        cmocka_unit_test(a_window_gives_any_stretch_and_stays_small),
        cmocka_unit_test(blocks_are_read_to_the_end_whatever_is_damaged),
        cmocka_unit_test(reserved_bytes_of_a_meta_header_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
