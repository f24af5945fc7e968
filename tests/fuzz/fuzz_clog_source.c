/* A small store whose clog and ilog files are damaged as the input says, read by the clog source: every batch is in
 * order and proven, a PG that stops has a reason, reading ends, and however the cursors of one PG are damaged, the
 * other one is read completely. Input: records of 4 bytes {file, offset of 16 bits, value}; bit 7 of file: the ilog's
 * trailer is made right afterwards.
 */
#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/codec.h"
#include "format/ob/ilog.h"
#include "source/clog.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PGS = 2, LOGS = 8, CLOG_BYTES = 8192, ILOG_CURSORS = 4096, ILOG_BYTES = 3 * 4096, REFRESHES = 8 };

static const obv_pg_key KEYS[PGS] = {{1100611139453777, 0, 0}, {1100611139453777, 1, 0}};
static uint8_t clog_bytes[CLOG_BYTES], ilog_bytes[ILOG_BYTES];
static char dir[64];
static obv_clog_source *source;

static void tidy(void)
{
    obv_clog_close(source);
    char path[80];
    static const char *const NAMES[] = {"clog/1", "ilog/1", "clog", "ilog"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, NAMES[i]);
        (void)remove(path);
    }
    (void)rmdir(dir);
}

static void put_file(const char *name, const uint8_t *bytes, size_t len)
{
    char path[80], temp[80];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(temp, sizeof temp, "%s.tmp", path); /* another inode each time, as the server does it */
    const int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    obv_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    obv_assert(close(fd) == 0 && rename(temp, path) == 0);
}

/* One DATA block with all entries, PGs in turn; their places go to `at`. */
static void make_clog(uint32_t at[PGS][LOGS], int64_t accum[PGS][LOGS])
{
    obv_buf b = obv_buf_fixed(clog_bytes, sizeof clog_bytes);
    obv_buf_append_zeros(&b, OBV_CLOG_BLOCK_HEADER);
    int64_t now = 1700000000000000;
    for (unsigned log = 0; log < LOGS; log++)
        for (unsigned pg = 0; pg < PGS; pg++) {
            const uint8_t body[16] = {0, 0, 0, 0, 0, 0, 0, (uint8_t)pg, (uint8_t)log};
            const obv_clog_entry e = {.type = OBV_ENTRY_SUBMIT,
                                      .is_trans = true,
                                      .pg = KEYS[pg],
                                      .log_id = log + 1,
                                      .data_len = sizeof body,
                                      .generation_ts = now,
                                      .epoch_id = 1,
                                      .proposal_ts = 1,
                                      .submit_ts = 1700000000000000 + log,
                                      .data_checksum = (int64_t)obv_crc64(0, obv_span_of(body, sizeof body)),
                                      .freeze_version = 1};
            at[pg][log] = (uint32_t)b.len;
            accum[pg][log] = obv_clog_accum(log ? accum[pg][log - 1] : 0, e.data_checksum);
            obv_clog_entry_emit(&e, &b);
            obv_put_span(&b, obv_span_of(body, sizeof body));
            now++;
        }
    const uint64_t len = b.len - OBV_CLOG_BLOCK_HEADER, total = (b.len + 4095) / 4096 * 4096;
    const uint64_t words[] = {total, total - b.len, (uint64_t)now, 0};
    uint8_t image[40];
    obv_buf h = obv_buf_fixed(clog_bytes, OBV_CLOG_BLOCK_HEADER), i = obv_buf_fixed(image, sizeof image);
    obv_put_be16(&h, 0x4c42), obv_put_be16(&h, 1), obv_put_be32(&h, OBV_CLOG_DATA);
    obv_put_le16(&i, 0x4c42), obv_put_le16(&i, 1), obv_put_le32(&i, OBV_CLOG_DATA);
    for (unsigned k = 0; k < 4; k++)
        obv_put_be64(&h, words[k]), obv_put_le64(&i, words[k]);
    obv_put_be64(&h, obv_crc64(0, obv_buf_span(&i)));
    obv_clog_block block;
    obv_assert(!b.failed && obv_clog_block_parse(obv_buf_span(&h), &block, NULL) == OBV_OK && block.data_len == len);
}

static void right_trailer(uint8_t *file)
{
    uint8_t *trailer = file + ILOG_BYTES - OBV_ILOG_TRAILER_AREA, image[32];
    obv_rd r = obv_rd_of(obv_span_of(trailer, 32));
    obv_buf i = obv_buf_fixed(image, sizeof image), sum = obv_buf_fixed(trailer + 32, 8);
    obv_put_le16(&i, obv_rd_be16(&r)), obv_put_le16(&i, obv_rd_be16(&r));
    for (int k = 0; k < 5; k++)
        obv_put_le32(&i, obv_rd_be32(&r));
    obv_put_le64(&i, obv_rd_be64(&r));
    obv_put_be64(&sum, obv_crc64(0, obv_buf_span(&i)));
}

static void make_ilog(uint32_t at[PGS][LOGS], int64_t accum[PGS][LOGS])
{
    obv_buf f = obv_buf_fixed(ilog_bytes, ILOG_CURSORS);
    for (unsigned pg = 0; pg < PGS; pg++)
        for (unsigned log = 0; log < LOGS; log++) {
            obv_put_be32(&f, 1), obv_put_be32(&f, at[pg][log]), obv_put_be32(&f, OBV_CLOG_ENTRY_HEADER + 16);
            obv_put_be32(&f, 0), obv_put_be64(&f, (uint64_t)accum[pg][log]), obv_put_be64(&f, 1700000000000000 + log);
        }
    uint8_t *info = ilog_bytes + ILOG_CURSORS;
    obv_buf head = obv_buf_fixed(info, 8);
    obv_put_be64(&head, PGS * OBV_ILOG_SLOT);
    for (unsigned pg = 0; pg < PGS; pg++) {
        const uint64_t hash = obv_clog_key_hash(&KEYS[pg]);
        uint8_t *slot = info + 8 + hash % PGS * OBV_ILOG_SLOT;
        if (*slot)
            slot = info + 8 + (hash + 1) % PGS * OBV_ILOG_SLOT;
        obv_buf s = obv_buf_fixed(slot, OBV_ILOG_SLOT);
        obv_put_le64(&s, 1), obv_put_le64(&s, KEYS[pg].table_id), obv_put_le32(&s, (uint32_t)KEYS[pg].part_id);
        obv_put_le32(&s, 0), obv_put_le64(&s, hash), obv_put_le64(&s, 1), obv_put_le64(&s, LOGS);
        obv_put_le64(&s, 1700000000000000), obv_put_le64(&s, 1700000000000000 + LOGS);
        obv_put_le64(&s, pg * LOGS * OBV_ILOG_CURSOR);
    }
    obv_buf t = obv_buf_fixed(ilog_bytes + ILOG_BYTES - OBV_ILOG_TRAILER_AREA, OBV_ILOG_TRAILER);
    obv_put_be16(&t, 0x4c43), obv_put_be16(&t, 0), obv_put_be32(&t, 0), obv_put_be32(&t, ILOG_CURSORS);
    obv_put_be32(&t, 8 + PGS * OBV_ILOG_SLOT), obv_put_be32(&t, ILOG_CURSORS + 8 + PGS * OBV_ILOG_SLOT);
    obv_put_be32(&t, 0), obv_put_be64(&t, 0);
    right_trailer(ilog_bytes);
}

static void prepare(void)
{
    (void)snprintf(dir, sizeof dir, "/dev/shm/obvault-fuzz-clog-%d", (int)getpid());
    char path[80];
    obv_assert(mkdir(dir, 0700) == 0 && atexit(tidy) == 0);
    (void)snprintf(path, sizeof path, "%s/clog", dir);
    obv_assert(mkdir(path, 0700) == 0);
    (void)snprintf(path, sizeof path, "%s/ilog", dir);
    obv_assert(mkdir(path, 0700) == 0);
    static uint32_t at[PGS][LOGS];
    static int64_t accum[PGS][LOGS];
    make_clog(at, accum);
    make_ilog(at, accum);
    const obv_clog_config cfg = {.store_dir = dir, .batch_bytes = 4u << 20};
    obv_assert(obv_clog_open(&cfg, &source, NULL) == OBV_OK);
}

static void check_log(const obv_clog_pg *before, const obv_clog_log *l, uint64_t *next)
{
    obv_assert(l->pg < PGS && l->entry.log_id == *next && obv_pg_key_equal(&l->entry.pg, &before[l->pg].key));
    obv_assert(l->bytes.len == OBV_CLOG_ENTRY_HEADER + (size_t)l->entry.data_len);
    obv_assert(obv_crc64(0, obv_span_of(l->bytes.p + OBV_CLOG_ENTRY_HEADER, l->entry.data_len)) ==
               (uint64_t)l->entry.data_checksum);
    (*next)++;
}

/* To the end of what is there, some refreshes long. */
static void read_all(obv_clog_pg pg[PGS])
{
    obv_clog_pg *list[PGS];
    uint64_t next[PGS];
    for (unsigned i = 0; i < PGS; i++) {
        obv_clog_pg_set(&pg[i], &KEYS[i], 1, 0);
        list[i] = &pg[i];
        next[i] = 1;
    }
    for (unsigned i = 0; i < REFRESHES; i++) {
        bool changed;
        obv_assert(obv_clog_refresh(source, &changed, NULL) == OBV_OK);
        for (unsigned batches = 0;; batches++) {
            obv_clog_batch b;
            const obv_code code = obv_clog_read(source, list, PGS, NULL, &b, NULL);
            obv_assert(code == OBV_OK || code == OBV_E_CORRUPT);
            obv_assert(batches < 1000);
            for (size_t k = 0; k < b.count; k++)
                check_log(pg, &b.logs[k], &next[b.logs[k].pg]);
            if (b.count == 0)
                break;
        }
    }
    for (unsigned i = 0; i < PGS; i++)
        obv_assert(pg[i].next_log_id == next[i] && (!pg[i].failed || pg[i].why[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!source)
        prepare();
    static uint8_t clog_now[CLOG_BYTES], ilog_now[ILOG_BYTES];
    memcpy(clog_now, clog_bytes, sizeof clog_now);
    memcpy(ilog_now, ilog_bytes, sizeof ilog_now);
    bool shared = false; /* something else was hit than cursors of the first PG */
    for (; size >= 4; data += 4, size -= 4) {
        const size_t at = (size_t)data[1] << 8 | data[2];
        uint8_t *byte = data[0] & 1 ? &ilog_now[at % ILOG_BYTES] : &clog_now[at % CLOG_BYTES];
        shared |= *byte != data[3] && (!(data[0] & 1) || at % ILOG_BYTES >= LOGS * OBV_ILOG_CURSOR);
        *byte = data[3];
        if (data[0] & 0x80)
            right_trailer(ilog_now);
    }
    put_file("clog/1", clog_now, sizeof clog_now);
    put_file("ilog/1", ilog_now, sizeof ilog_now);
    obv_clog_pg pg[PGS];
    read_all(pg);
    obv_assert(shared || (!pg[1].failed && pg[1].next_log_id == LOGS + 1));
    return 0;
}
