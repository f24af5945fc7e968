#include "format/ob/codec.h"

/* ---- reading */

/* @return where n bytes begin, or NULL: absent member of an envelope (zero) or failure (sticky) */
static const uint8_t *take(obv_rd *r, size_t n)
{
    if (r->bad || (r->lenient && r->p == r->end))
        return NULL;
    if (n > obv_rd_left(r)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    return at;
}

static uint64_t take_le(obv_rd *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint64_t take_be(obv_rd *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t obv_rd_u8(obv_rd *r) { return (uint8_t)take_le(r, 1); }
bool obv_rd_bool(obv_rd *r) { return take_le(r, 1) != 0; }
uint16_t obv_rd_le16(obv_rd *r) { return (uint16_t)take_le(r, 2); }
uint32_t obv_rd_le32(obv_rd *r) { return (uint32_t)take_le(r, 4); }
uint64_t obv_rd_le64(obv_rd *r) { return take_le(r, 8); }
uint16_t obv_rd_be16(obv_rd *r) { return (uint16_t)take_be(r, 2); }
uint32_t obv_rd_be32(obv_rd *r) { return (uint32_t)take_be(r, 4); }
uint64_t obv_rd_be64(obv_rd *r) { return take_be(r, 8); }

static uint64_t take_varint(obv_rd *r, unsigned max_bytes)
{
    if (r->bad || (r->lenient && r->p == r->end))
        return 0;
    uint64_t v = 0;
    for (unsigned i = 0; i < max_bytes && r->p < r->end; i++) {
        const uint8_t byte = *r->p++;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80))
            return v;
    }
    r->bad = true; /* bytes ran out, or too many of them */
    return 0;
}

uint64_t obv_rd_vu64(obv_rd *r) { return take_varint(r, 10); }
uint32_t obv_rd_vu32(obv_rd *r) { return (uint32_t)take_varint(r, 5); }

obv_span obv_rd_bytes(obv_rd *r, size_t n)
{
    const uint8_t *p = take(r, n);
    return p ? (obv_span){p, n} : (obv_span){r->p, 0};
}

obv_span obv_rd_vstr(obv_rd *r)
{
    const bool absent = r->lenient && r->p == r->end;
    const uint64_t len = obv_rd_vu64(r);
    if (absent || r->bad)
        return (obv_span){r->p, 0};
    if (len >= obv_rd_left(r) || r->p[len] != 0) { /* the NUL must be there too */
        r->bad = true;
        return (obv_span){r->p, 0};
    }
    const obv_span s = {r->p, (size_t)len};
    r->p += len + 1;
    return s;
}

obv_span obv_rd_cstr(obv_rd *r, size_t max)
{
    const bool absent = r->lenient && r->p == r->end;
    const uint64_t len = obv_rd_vu64(r); /* with the NUL */
    if (absent || r->bad)
        return (obv_span){r->p, 0};
    if (len == 0 || len > max || len > obv_rd_left(r) || r->p[len - 1] != 0 || memchr(r->p, 0, len - 1)) {
        r->bad = true;
        return (obv_span){r->p, 0};
    }
    const obv_span s = {r->p, (size_t)len - 1};
    r->p += len;
    return s;
}

obv_span obv_rd_fixed_str(obv_rd *r, size_t max)
{
    obv_rd body = obv_rd_unis(r, 1);
    const obv_span s = obv_rd_cstr(&body, max);
    r->bad |= body.bad;
    return s;
}

obv_rd obv_rd_unis(obv_rd *r, uint64_t version)
{
    const obv_rd absent = {.p = r->p, .end = r->p, .lenient = true};
    if (r->lenient && r->p == r->end)
        return absent;
    const uint8_t *version_at = r->p;
    const uint64_t got = obv_rd_vu64(r);
    const uint8_t *len_at = r->p;
    const uint64_t len = obv_rd_vu64(r);
    if (r->bad || got != version || len_at != version_at + obv_vu64_len(version) ||
        r->p != len_at + OBV_UNIS_LEN_BYTES || len > obv_rd_left(r)) {
        r->bad = true;
        return (obv_rd){.p = r->p, .end = r->p, .bad = true, .lenient = true};
    }
    const obv_rd body = {.p = r->p, .end = r->p + len, .lenient = true};
    r->p += len;
    return body;
}

obv_span obv_rd_unis_span(obv_rd *r, uint64_t version)
{
    const uint8_t *start = r->p;
    (void)obv_rd_unis(r, version);
    return (obv_span){start, r->bad ? 0 : (size_t)(r->p - start)};
}

void obv_rd_skip_words(obv_rd *r, size_t n)
{
    obv_rd body = obv_rd_unis(r, 1);
    for (size_t i = 0; i < n; i++)
        (void)obv_rd_vu64(&body);
    r->bad |= body.bad;
}

size_t obv_rd_count(obv_rd *r, size_t max, size_t item_min)
{
    const uint64_t n = obv_rd_vu64(r);
    if (n > max || (item_min && n > obv_rd_left(r) / item_min)) {
        r->bad = true;
        return 0;
    }
    return (size_t)n;
}

obv_code obv_rd_check(const obv_rd *r, const char *what, obv_err *err)
{
    if (!r->bad)
        return OBV_OK;
    return obv_fail(err, OBV_E_CORRUPT, 0, "%s: cut off, or not what it must be (%zu bytes left)", what,
                    obv_rd_left(r));
}

obv_code obv_rd_done(const obv_rd *r, const char *what, obv_err *err)
{
    OBV_TRY(obv_rd_check(r, what, err));
    if (r->p != r->end)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s: %zu bytes too many", what, obv_rd_left(r));
    return OBV_OK;
}

/* ---- emitting */

static void put_le(obv_buf *b, uint64_t v, size_t n)
{
    uint8_t *at = obv_buf_reserve(b, n);
    for (size_t i = 0; at && i < n; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static void put_be(obv_buf *b, uint64_t v, size_t n)
{
    uint8_t *at = obv_buf_reserve(b, n);
    for (size_t i = 0; at && i < n; i++)
        at[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

void obv_put_u8(obv_buf *b, uint8_t v) { put_le(b, v, 1); }
void obv_put_le16(obv_buf *b, uint16_t v) { put_le(b, v, 2); }
void obv_put_le32(obv_buf *b, uint32_t v) { put_le(b, v, 4); }
void obv_put_le64(obv_buf *b, uint64_t v) { put_le(b, v, 8); }
void obv_put_be16(obv_buf *b, uint16_t v) { put_be(b, v, 2); }
void obv_put_be32(obv_buf *b, uint32_t v) { put_be(b, v, 4); }
void obv_put_be64(obv_buf *b, uint64_t v) { put_be(b, v, 8); }

size_t obv_vu64_len(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

void obv_put_vu64(obv_buf *b, uint64_t v)
{
    const size_t n = obv_vu64_len(v);
    uint8_t *at = obv_buf_reserve(b, n);
    for (size_t i = 0; at && i < n; i++, v >>= 7)
        at[i] = (uint8_t)((v & 0x7f) | (i + 1 < n ? 0x80u : 0u));
}

void obv_put_vu32(obv_buf *b, uint32_t v) { obv_put_vu64(b, v); }

void obv_put_vstr(obv_buf *b, obv_span s)
{
    obv_put_vu64(b, s.len);
    obv_put_span(b, s);
    obv_put_u8(b, 0);
}

void obv_put_cstr(obv_buf *b, const char *s)
{
    const size_t n = strlen(s) + 1;
    obv_put_vu64(b, n);
    obv_buf_append(b, s, n);
}

void obv_put_fixed_str(obv_buf *b, const char *s)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_cstr(b, s);
    obv_unis_end(b, mark);
}

static void write_len5(uint8_t *at, uint64_t len)
{
    for (size_t i = 0; i < OBV_UNIS_LEN_BYTES; i++, len >>= 7)
        at[i] = (uint8_t)((len & 0x7f) | (i + 1 < OBV_UNIS_LEN_BYTES ? 0x80u : 0u));
}

size_t obv_unis_begin(obv_buf *b, uint64_t version)
{
    obv_put_vu64(b, version);
    (void)obv_buf_reserve(b, OBV_UNIS_LEN_BYTES);
    return b->len;
}

void obv_unis_end(obv_buf *b, size_t mark)
{
    const uint64_t len = b->len - mark;
    if (b->failed || len >= UINT64_C(1) << 35) {
        b->failed = true;
        return;
    }
    write_len5(b->data + mark - OBV_UNIS_LEN_BYTES, len);
}

void obv_put_unis_header(obv_buf *b, uint64_t version, uint64_t body_len)
{
    obv_put_vu64(b, version);
    uint8_t *at = obv_buf_reserve(b, OBV_UNIS_LEN_BYTES);
    if (at && body_len < UINT64_C(1) << 35)
        write_len5(at, body_len);
    else
        b->failed = true;
}
