/* test_golden.c - the stand-in's encoders against bytes made by OceanBase's own code
 *
 * usage: test_golden FOLDER; exit 77 (skipped) when the folder is missing.
 */
#include "clogfmt.h"
#include "macro.h"
#include "rpcfmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <zstd.h>

static const char *golden;
static int failures, checks;

#define CHECK(cond, ...)                                                                                               \
    do {                                                                                                               \
        checks++;                                                                                                      \
        if (!(cond)) {                                                                                                 \
            failures++;                                                                                                \
            printf("FAIL %s:%d ", __func__, __LINE__);                                                                 \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

static uint8_t *load(const char *name, size_t *n)
{
    char *path = xasprintf("%s/%s", golden, name);
    uint8_t *p = read_file(path, n);
    free(path);
    size_t len = strlen(name);
    if (p && len > 4 && !strcmp(name + len - 4, ".zst")) {
        size_t cap = 80u << 20;
        uint8_t *q = xmalloc(cap);
        ZSTD_DCtx *d = ZSTD_createDCtx();
        ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, 27);
        size_t got = ZSTD_decompressDCtx(d, q, cap, p, *n);
        ZSTD_freeDCtx(d);
        free(p);
        if (ZSTD_isError(got))
            got = 0;
        *n = got;
        p = q;
    }
    CHECK(p != NULL, "cannot read %s", name);
    if (!p)
        exit(1);
    return p;
}

static json_t *manifest(const char *name)
{
    size_t n;
    uint8_t *p = load(name, &n);
    json_error_t e;
    /* The library has no unsigned 64-bit numbers. */
    for (char *q = (char *)p; (q = strstr(q, "18446744073709551615")) != NULL;)
        memcpy(q, "-1                  ", 20);
    json_t *j = json_loadb((const char *)p, n, JSON_ALLOW_NUL, &e);
    if (!j)
        printf("%s: %s\n", name, e.text);
    free(p);
    if (!j)
        exit(1);
    return j;
}

static uint64_t num(const json_t *o, const char *k)
{
    const json_t *v = json_object_get(o, k);
    return json_is_string(v) ? strtoull(json_string_value(v), NULL, 0) : (uint64_t)json_integer_value(v);
}

static const char *str(const json_t *o, const char *k)
{
    const char *s = json_string_value(json_object_get(o, k));
    return s ? s : "";
}

static struct obuf unhex(const char *s)
{
    struct obuf b = {0};
    for (; s[0] && s[1]; s += 2) {
        unsigned v = 0;
        if (sscanf(s, "%2x", &v) != 1)
            break;
        ob_u8(&b, v);
    }
    return b;
}

static void same(const char *what, struct obuf *got, const char *hex)
{
    struct obuf want = unhex(hex);
    bool eq = got->n == want.n && (!got->n || !memcmp(got->p, want.p, got->n));
    size_t at = 0;
    while (at < got->n && at < want.n && got->p[at] == want.p[at])
        at++;
    CHECK(eq, "%s: %zu bytes, want %zu, first difference at %zu", what, got->n, want.n, at);
    ob_free(got);
    ob_free(&want);
}

static void checksums(void)
{
    json_t *m = manifest("checksum_vectors.json"), *v, *s = manifest("serialization_vectors.json");
    size_t i, k;
    json_array_foreach(json_object_get(m, "vectors"), i, v)
    {
        struct obuf b = unhex(str(v, "hex"));
        json_t *x;
        if (b.n != num(v, "len")) {
            ob_free(&b);
            continue;
        }
        json_array_foreach(json_object_get(v, "by_init"), k, x)
        {
            if (num(x, "init") <= UINT32_MAX)
                CHECK(ob_crc(num(x, "init"), b.p, b.n) == num(x, "ob_crc64"), "crc vector %zu", i);
        }
        ob_free(&b);
    }
    json_array_foreach(json_object_get(s, "partition_key_hash"), i, v)
    {
        if (num(v, "init_rc"))
            continue;
        struct obuf ser = unhex(str(v, "serialized_hex"));
        struct oin r = {.p = ser.p, .n = ser.n};
        struct pkey key = in_pkey(&r);
        CHECK(pkey_hash(&key) == num(v, "hash"), "hash %zu", i);
        CHECK((uint64_t)pkey_partition_id(&key) == num(v, "get_partition_id"), "partition id %zu", i);
        struct pkey again = pkey_make(key.table_id, pkey_partition_id(&key));
        CHECK(key.assist == again.assist || pkey_partition_id(&key) <= INT32_MAX, "key from id %zu", i);
        ob_free(&ser);
    }
    json_decref(m);
    json_decref(s);
}

#define T0 1672531200000000
static const struct member MEMBERS[3] = {
    {0x0a010203, 2882, T0 + 1}, {0x0a010204, 2882, T0 + 2}, {0x0a010205, 2882, T0 + 3}};
static const struct pkey PT = {1100611139453781, 3, 0};

static void metas(void)
{
    json_t *m = manifest("storage_manifest.json"), *v = json_object_get(m, "vectors");
    struct obuf b = {0};
    struct pg_meta g = {.key = PT, .members = MEMBERS, .n_members = 3, .partitions = &PT, .n_partitions = 1};
    g.clog = (struct clog_info){T0 + 900, {0x0a010203, 2882, T0 + 1000}, 106, T0 + 50, 305419896, T0 + 4, 2};
    g.data = (struct data_info){106, T0 + 490, T0 + 400, T0 + 50};
    g.data_version = 7;
    g.data_size = 90077;
    g.required_size = 4194304;
    g.major_snapshot = T0 + 500;
    g.create_schema_version = T0 + 100;
    g.create_timestamp = T0 + 110;
    g.create_frozen_version = 1;
    enc_pg_meta(&b, &g);
    same("pg meta", &b, str(json_array_get(v, 0), "hex"));
    struct table_key k = {T_MAJOR, PT, PT.table_id, {T0 + 500, 0, T0 + 500}, 7, {0, T0 + 500, T0 + 500}};
    enc_table_key(&b, &k);
    struct oin r = {.p = b.p, .n = b.n};
    struct table_key k2 = in_table_key(&r);
    CHECK(!r.bad && r.at == b.n && table_key_eq(&k, &k2), "table key read back");
    same("table key", &b, str(json_array_get(v, 7), "hex"));
    struct part_meta p = {PT, 7, 1600, 85, 102, 54381, 4194304, T0 + 500, T0 + 500, PT.table_id, T0 + 100, T0 + 110};
    enc_part_meta(&b, &p);
    same("partition meta", &b, str(json_array_get(v, 9), "hex"));
    json_decref(m);

    m = manifest("rpc/rpc_manifest.json");
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(m, "exchanges"), i, e)
    {
        if (strncmp(str(e, "name"), "base_meta_", 10))
            continue;
        json_t *it = json_array_get(json_object_get(e, "stream_items"), 0), *f = json_object_get(it, "fields"), *c;
        if (!it || num(f, "index_type") || num(f, "lob_macro_block_count") || num(f, "column_cnt") > MAX_COLS ||
            (num(f, "macro_block_count") - 1 != num(f, "max_logic_block_index")) || num(f, "use_old_macro_block_count"))
            continue;
        struct base_meta bm = {.index_id = num(f, "index_id")};
        bm.row_count = (int64_t)num(f, "row_count");
        bm.occupy_size = (int64_t)num(f, "occupy_size");
        bm.data_checksum = (int64_t)num(f, "data_checksum");
        bm.data_version = (int64_t)num(f, "data_version");
        bm.rowkey_cols = (int)num(f, "rowkey_column_count");
        bm.n_cols = (int)num(f, "column_cnt");
        bm.macro_count = (int64_t)num(f, "macro_block_count");
        bool plain = true;
        size_t n;
        json_array_foreach(json_object_get(f, "column_metas"), n, c)
        {
            bm.col_id[n] = (int64_t)num(c, "column_id");
            bm.col_checksum[n] = (int64_t)num(c, "checksum");
            plain &= !num(c, "default_checksum");
        }
        if (!plain)
            continue;
        bm.schema_version = (int64_t)num(f, "schema_version");
        bm.create_snapshot_version = (int64_t)num(f, "create_snapshot_version");
        bm.checksum_method = (int64_t)num(f, "checksum_method");
        bm.logical_data_version = (int64_t)num(f, "logical_data_version");
        bm.rowkey_type = (int)num(f, "multi_version_rowkey_type");
        bm.has_uncommitted = json_is_true(json_object_get(f, "contain_uncommitted_row"));
        bm.upper_trans_version = (int64_t)num(f, "upper_trans_version");
        bm.max_merged_trans_version = (int64_t)num(f, "max_merged_trans_version");
        bm.end_log_id = num(f, "end_log_id");
        struct obuf arg = unhex(str(json_object_get(e, "arg"), "hex"));
        struct oin ar = {.p = arg.p, .n = arg.n}, body;
        if (in_unis(&ar, 1, &body)) {
            struct table_key tk = in_table_key(&body);
            bm.pg_key = tk.pkey;
            if (!strstr(str(e, "name"), "tablegroup") && !strstr(str(e, "name"), "trans")) {
                enc_base_meta(&b, &bm);
                same(str(e, "name"), &b, str(it, "hex"));
            }
        }
        ob_free(&arg);
    }
    json_decref(m);
}

static void blocks(void)
{
    json_t *m = manifest("storage_manifest.json"), *e;
    size_t i;
    json_array_foreach(json_object_get(m, "macro_blocks"), i, e)
    {
        size_t n;
        char *name = xasprintf("%s.zst", str(e, "file"));
        uint8_t *p = load(name, &n);
        json_t *sh = json_object_get(e, "sstable_header");
        size_t occupy = num(sh, "occupy_size");
        struct macro_iter it;
        struct row r;
        CHECK(occupy <= n && mi_open(&it, p, occupy), "%s not accepted", name);
        /* Rows are OceanBase's own: only the frames around them can be read. */
        CHECK(mi_next(&it, &r) == -1 && it.micro == 0 && it.n_rows > 0, "%s: first micro block", name);
        mi_close(&it);
        p[occupy / 2] ^= 1;
        CHECK(!mi_open(&it, p, occupy), "%s: damage not seen", name);
        free(p);
        free(name);
    }
    json_decref(m);

    struct obuf b = {0}, ek = unhex("0105053fff6351");
    char *line = NULL;
    size_t cap = 0;
    char *path = xasprintf("%s/data_backup_object_vectors.txt", golden);
    FILE *f = fopen(path, "r");
    free(path);
    while (f && getline(&line, &cap, f) > 0) {
        char *hex = strrchr(line, ' ');
        if (!hex)
            hex = strrchr(line, '\t');
        line[strcspn(line, "\r\n")] = 0;
        hex = hex ? hex + 1 : line;
        const uint64_t table = (1001ull << 40) | 50001;
        if (strstr(line, "ObMacroBlockMetaV2")) {
            const int64_t cc[2] = {7, 8};
            struct macro_meta mm = {1, 2,     1,     1,    0,   2, 10, 5000, 1, 300, 4000, 4100, 0x11223344, cc, ek.p,
                                    6, table, 65536, 1000, 200, 1, 10, 0,    0, 0,   0,    2,    false,      0};
            ek.p[5] = 99;
            enc_macro_meta(&b, &mm);
            same("macro meta", &b, hex);
        } else if (strstr(line, "ObMacroBlockSchemaInfo")) {
            const uint16_t ids[2] = {16, 17};
            const uint8_t types[8] = {5, 5, 0x3f, 0xff, 0x16, 7, 0x2d, 0xff};
            const int32_t orders[2] = {0};
            struct macro_schema s = {2, 1, 1, 1000, "zstd_1.3.8", ids, types, orders};
            enc_macro_schema(&b, &s);
            same("macro schema", &b, hex);
        }
    }
    if (f)
        fclose(f);
    free(line);
    ob_free(&ek);
}

static int sink_open(void *arg, struct block_desc *d, const struct obuf *meta, const struct obuf *block)
{
    (void)meta;
    struct macro_iter it;
    struct row r;
    int64_t n = 0;
    int rc;
    CHECK(block->n <= MACRO_SIZE && block->n == d->occupy, "block size %zu", block->n);
    CHECK(mi_open(&it, block->p, block->n), "own block refused");
    while ((rc = mi_next(&it, &r)) > 0)
        n++;
    CHECK(rc == 0 && n == d->row_count, "rows read back: %" PRId64 " of %" PRId64, n, d->row_count);
    CHECK(!key_cmp(r.key, r.klen, d->endkey, d->endkey_len), "end key");
    mi_close(&it);
    *(int64_t *)arg += n;
    return 0;
}

static void own_blocks(void)
{
    static const enum compressor COMP[] = {C_NONE, C_LZ4, C_ZSTD138};
    for (int mv = 0; mv < 2; mv++)
        for (size_t c = 0; c < 3; c++) {
            struct macro_opts o = {.part = PT,
                                   .index_id = PT.table_id,
                                   .multi_version = mv,
                                   .int_key = true,
                                   .comp = COMP[c],
                                   .data_version = 7};
            int64_t got = 0;
            struct macro_writer *w = mw_new(&o, sink_open, &got);
            uint8_t key[8], val[3000];
            uint64_t s = 1;
            for (uint64_t i = 0; i < 5000; i++) {
                stbe64(key, i);
                for (size_t k = 0; k < sizeof val; k++)
                    val[k] = (uint8_t)(rnd_next(&s) & 31);
                struct row r = {
                    .op = OP_PUT, .klen = 8, .vlen = (uint32_t)(rnd_next(&s) % sizeof val), .key = key, .val = val};
                CHECK(mw_add(w, &r) == 0, "add");
            }
            CHECK(mw_close(w) == 0 && got == 5000, "rows %" PRId64, got);
        }
}

static void clog_files(void)
{
    json_t *m = manifest("clog_manifest.json"), *e;
    size_t n1, n2, i, used;
    uint8_t *file[3] = {NULL, load("clog_1.bin.zst", &n1), load("clog_2.bin.zst", &n2)};
    struct obuf b = {0};
    json_array_foreach(json_object_get(m, "entries"), i, e)
    {
        struct log_entry x;
        const uint8_t *p = file[num(e, "file_id")] + num(e, "offset");
        CHECK(dec_entry(&x, p, num(e, "serialized_len"), &used) && used == num(e, "serialized_len"), "entry %zu", i);
        enc_entry(&b, &x);
        /* An entry may carry the version byte of an unset address; ours is always IPv4. */
        CHECK(b.n == used && !memcmp(b.p, p, used), "entry %zu (%s) differs", i, str(e, "desc"));
        b.n = 0;
        struct item_iter it = {.e = &x};
        struct tx_item t;
        if (num(json_object_get(e, "header"), "log_id") == 101)
            CHECK(item_next(&it, &t) && t.kind == ST_CHECKPOINT && t.rest.n == 14, "checkpoint log");
    }
    json_array_foreach(json_object_get(m, "blocks"), i, e)
    {
        const uint8_t *p = file[num(e, "file_id")] + num(e, "offset");
        int type;
        int64_t len, ts;
        CHECK(dec_block_meta(p, &type, &len, &ts) && (uint64_t)len == num(e, "data_len"), "block %zu", i);
        enc_block_meta(&b, (enum block_type)type, (size_t)len, ts, ldbe64(p + 32));
        CHECK(!memcmp(b.p, p, BLOCK_HDR), "block meta %zu", i);
        b.n = 0;
    }
    json_array_foreach(json_object_get(m, "padding_entries"), i, e)
    {
        CHECK((uint64_t)padding_size((int64_t)num(e, "offset")) == num(e, "entry_size"), "padding %zu", i);
        enc_padding(&b, padding_size((int64_t)num(e, "offset")));
        if (!json_object_get(e, "note"))
            CHECK(!memcmp(b.p, file[num(e, "file_id")] + num(e, "offset"), 12), "padding bytes %zu", i);
        b.n = 0;
    }
    json_t *info = json_object_get(m, "info_block");
    const uint8_t *p = file[1] + num(info, "offset");
    struct oin r = {.p = p + BLOCK_HDR, .n = 4096};
    in_bytes(&r, 2 + 7 + 8);
    uint64_t count = in_be64(&r);
    CHECK(count == 3, "info block count");
    struct pg_max pm[3];
    for (size_t k = 0; k < 3; k++) {
        pm[k].key = in_pkey(&r);
        pm[k].max_log_id = in_be64(&r);
    }
    enc_info_block(&b, pm, 3, (int64_t)num(info, "max_submit_timestamp"), (int64_t)ldbe64(p + 24));
    CHECK(!memcmp(b.p, p, b.n), "info block");
    b.n = 0;
    json_t *t = json_object_get(m, "trailer");
    enc_trailer(&b, (int32_t)num(t, "start_pos"), (uint32_t)num(t, "next_file_id"),
                (int64_t)num(json_object_get(t, "block_meta"), "timestamp"));
    same("trailer", &b, str(t, "hex"));
    free(file[1]);
    free(file[2]);
    json_decref(m);
}

struct ilog_in {
    struct ilog_pg pg[8];
    size_t n;
};

static void take_pg(void *arg, const struct ilog_pg *g, const uint8_t *cur)
{
    struct ilog_in *in = arg;
    size_t n = (size_t)(g->max_id - g->min_id + 1);
    struct ilog_cursor *c = xcalloc(n, sizeof *c);
    for (size_t i = 0; i < n; i++, cur += 32)
        c[i] = (struct ilog_cursor){ldbe32(cur), ldbe32(cur + 4), ldbe32(cur + 8), (int64_t)ldbe64(cur + 16),
                                    (int64_t)ldbe64(cur + 24)};
    if (in->n < 8) {
        in->pg[in->n] = *g;
        in->pg[in->n++].cursors = c;
    }
}

static void ilog(void)
{
    static const char *const NAMES[] = {"rpc/ilog_1_early.bin", "rpc/ilog_1.bin", "rpc/ilog_2.bin"};
    for (size_t f = 0; f < 3; f++) {
        size_t n;
        uint8_t *p = load(NAMES[f], &n);
        struct ilog_in in = {.n = 0};
        CHECK(dec_ilog_file(p, n, take_pg, &in) && in.n > 0, "%s", NAMES[f]);
        struct obuf b = {0};
        enc_ilog_file(&b, in.pg, in.n, MEMBERS, 3);
        size_t info = ldbe32(p + n - 512 + 8), info_len = ldbe32(p + n - 512 + 12);
        CHECK(b.n == n, "%s: %zu bytes of %zu", NAMES[f], b.n, n);
        CHECK(b.n == n && !memcmp(b.p, p, info + 8), "%s: cursors", NAMES[f]);
        CHECK(b.n == n && !memcmp(b.p + n - 512, p + n - 512, 20), "%s: trailer", NAMES[f]);
        /* Which of two colliding PGs came first is the server's affair: compare the slots as a set. */
        for (size_t at = info + 8; at < info + info_len; at += 72) {
            bool found = false;
            for (size_t k = info + 8; k < info + info_len; k += 72)
                found |= !memcmp(b.p + at, p + k, 72);
            CHECK(found, "%s: slot at %zu", NAMES[f], at);
        }
        ob_free(&b);
        for (size_t i = 0; i < in.n; i++)
            free((void *)(uintptr_t)in.pg[i].cursors);
        free(p);
    }
}

static void rpc(void)
{
    json_t *m = manifest("rpc/rpc_manifest.json"), *e, *msg;
    size_t i, k;
    json_array_foreach(json_object_get(m, "exchanges"), i, e)
    {
        json_array_foreach(json_object_get(e, "messages"), k, msg)
        {
            size_t n, off;
            char *name = xasprintf("rpc/%s", str(msg, "file"));
            char *path = xasprintf("%s/%s", golden, name);
            if (access(path, R_OK)) {
                free(name);
                name = xasprintf("rpc/%s.zst", str(msg, "file"));
            }
            free(path);
            uint8_t *p = load(name, &n);
            struct rpc_header h;
            CHECK(dec_rpc(&h, p + RPC_NET_HDR, n - RPC_NET_HDR, &off), "%s", name);
            struct obuf b = {0};
            enc_rpc(&b, &h, ldbe32(p + 8), p + RPC_NET_HDR + off, n - RPC_NET_HDR - off);
            if (!strstr(name, "checksum"))
                CHECK(b.n == n && !memcmp(b.p, p, n), "%s differs", name);
            ob_free(&b);
            free(p);
            free(name);
        }
    }
    struct obuf b = {0};
    enc_result(&b, 0, "", 0);
    same("result 0", &b,
         "018480808000000100"
         "00");
    enc_result(&b, -4008, "", 0);
    same("result -4008", &b, "018880808000d8e0ffff0f010000");
    json_decref(m);
}

int main(int argc, char **argv)
{
    golden = argc > 1 ? argv[1] : "../shared/golden";
    if (access(golden, R_OK)) {
        printf("no golden data in %s: skipped\n", golden);
        return 77;
    }
    checksums();
    metas();
    blocks();
    own_blocks();
    clog_files();
    ilog();
    rpc();
    printf("%d checks, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
