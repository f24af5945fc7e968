/* zstd_alone - what zstd alone costs on given files: the floor that a compressing pipeline is compared with
 *
 * Each block of 2 MiB is one frame, as sealed repositories store it; files are read into memory first, so only the
 * compressor counts. One line of JSON: bytes in and out, ratio, bytes a second, CPU seconds a GiB.
 *
 * usage: zstd_alone [-l LEVEL] [-r REPEATS] [-b BLOCK_KIB] FILE...
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <zstd.h>

#define FILE_MAX_BYTES ((size_t)4 << 30)

struct options {
    int level;
    long repeats;
    size_t block;
};

struct result {
    uint64_t in, out;
    int64_t wall_ns, cpu_ns;
};

static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * OBV_NS_PER_S + t.tv_nsec;
}

static obv_code compress(ZSTD_CCtx *cctx, obv_span file, size_t block, struct result *r, obv_err *err)
{
    const size_t cap = ZSTD_compressBound(block);
    OBV_AUTO(obv_freep) uint8_t *out = malloc(cap);
    if (!out)
        return obv_fail(err, OBV_E_NOMEM, 0, "%zu bytes", cap);
    memset(out, 0, cap); /* page faults are not the compressor's */
    const int64_t wall = obv_mono_ns(), cpu = cpu_ns();
    for (size_t at = 0; at < file.len; at += block) {
        const size_t n = file.len - at < block ? file.len - at : block;
        const size_t got = ZSTD_compress2(cctx, out, cap, file.p + at, n);
        if (ZSTD_isError(got))
            return obv_fail(err, OBV_E_INTERNAL, 0, "zstd: %s", ZSTD_getErrorName(got));
        r->out += got;
    }
    r->wall_ns += obv_mono_ns() - wall;
    r->cpu_ns += cpu_ns() - cpu;
    r->in += file.len;
    return OBV_OK;
}

static obv_code measure(const struct options *o, char **files, int n, struct result *r, obv_err *err)
{
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    obv_code code = cctx ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "zstd");
    if (code == OBV_OK && ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, o->level)))
        code = obv_fail(err, OBV_E_INVAL, 0, "zstd has no level %d", o->level);
    for (int i = 0; code == OBV_OK && i < n; i++) {
        obv_buf b = obv_buf_heap(FILE_MAX_BYTES);
        code = obv_file_read_all(files[i], FILE_MAX_BYTES, &b, err);
        for (long k = 0; code == OBV_OK && k < o->repeats; k++)
            code = compress(cctx, obv_buf_span(&b), o->block, r, err);
        obv_buf_fini(&b);
    }
    (void)ZSTD_freeCCtx(cctx);
    return code;
}

static void print(const struct options *o, const struct result *r)
{
    char text[1000];
    obv_buf b = obv_buf_fixed(text, sizeof text);
    obv_json w = obv_json_to(&b);
    const double wall_s = (double)r->wall_ns / 1e9, cpu_s = (double)r->cpu_ns / 1e9, gib = (double)r->in / (1u << 30);
    obv_json_object(&w, NULL);
    obv_json_str(&w, "bench", "zstd_alone");
    obv_json_i64(&w, "level", o->level);
    obv_json_u64(&w, "block_bytes", o->block);
    obv_json_u64(&w, "in_bytes", r->in);
    obv_json_u64(&w, "out_bytes", r->out);
    obv_json_u64(&w, "bytes_per_s", wall_s > 0 ? (uint64_t)((double)r->in / wall_s) : 0);
    obv_json_fixed(&w, "ratio", r->out ? (double)r->in / (double)r->out : 0, 3);
    obv_json_fixed(&w, "cpu_s_per_gib", gib > 0 ? cpu_s / gib : 0, 3);
    obv_json_end(&w);
    obv_json_line(&w);
    (void)fwrite(b.data, 1, b.len, stdout);
}

int main(int argc, char **argv)
{
    struct options o = {.level = 3, .repeats = 1, .block = (size_t)2 << 20};
    struct result r = {0};
    obv_err err = {0};
    for (int c; (c = getopt(argc, argv, "l:r:b:")) != -1;) {
        const long v = c == '?' ? 0 : strtol(optarg, NULL, 10);
        if (c == 'l')
            o.level = (int)v;
        else if (c == 'r' && v >= 1)
            o.repeats = v;
        else if (c == 'b' && v >= 4 && v <= 65536)
            o.block = (size_t)v << 10;
        else
            optind = argc; /* falls into the usage below */
    }
    if (optind >= argc) {
        (void)fprintf(stderr, "usage: zstd_alone [-l LEVEL] [-r REPEATS] [-b BLOCK_KIB] FILE...\n");
        return 2;
    }
    if (measure(&o, argv + optind, argc - optind, &r, &err) != OBV_OK) {
        (void)fprintf(stderr, "zstd_alone: %s\n", err.msg);
        return 1;
    }
    print(&o, &r);
    return 0;
}
