/* codec.h - OceanBase's serialization: varints, UNIS envelopes, strings, fixed words (docs/format.md, "Primitives")
 *
 * A reader is a cursor with a sticky failure: read everything, then look at it once. Emitters append to an obv_buf,
 * whose failure is sticky too. Pure: no I/O, no allocation but the obv_buf's, any thread.
 */
#ifndef OBV_FORMAT_OB_CODEC_H
#define OBV_FORMAT_OB_CODEC_H

#include "base/span.h"

/* ---- reading */

typedef struct obv_rd {
    const uint8_t *p, *end;
    bool bad;     /* something did not fit; every later read gives 0 */
    bool lenient; /* body of an envelope: a member that begins at the very end is absent and reads as 0 */
} obv_rd;

static inline obv_rd obv_rd_of(obv_span s)
{
    return (obv_rd){.p = s.p, .end = s.len ? s.p + s.len : s.p}; /* nothing is added to a NULL of no bytes */
}
static inline size_t obv_rd_left(const obv_rd *r) { return (size_t)(r->end - r->p); }

uint8_t obv_rd_u8(obv_rd *r);
bool obv_rd_bool(obv_rd *r); /* one byte, 0 is false */
/* little and big endian words of raw structs */
uint16_t obv_rd_le16(obv_rd *r);
uint32_t obv_rd_le32(obv_rd *r);
uint64_t obv_rd_le64(obv_rd *r);
uint16_t obv_rd_be16(obv_rd *r);
uint32_t obv_rd_be32(obv_rd *r);
uint64_t obv_rd_be64(obv_rd *r);
/* LEB128 of the unsigned pattern; the signed forms are the same bytes */
uint64_t obv_rd_vu64(obv_rd *r);
uint32_t obv_rd_vu32(obv_rd *r);
static inline int64_t obv_rd_vi64(obv_rd *r) { return (int64_t)obv_rd_vu64(r); }
static inline int32_t obv_rd_vi32(obv_rd *r) { return (int32_t)obv_rd_vu32(r); }
obv_span obv_rd_bytes(obv_rd *r, size_t n);
/** vi64 length, bytes, one NUL that the length does not count. */
obv_span obv_rd_vstr(obv_rd *r);
/** char[N]: vi64 length with NUL, bytes, NUL. The span excludes the NUL; @p max counts it (N). */
obv_span obv_rd_cstr(obv_rd *r, size_t max);
/** ObFixedLengthString: an envelope around a char[N]. */
obv_span obv_rd_fixed_str(obv_rd *r, size_t max);
/**
 * Envelope of exactly @p version: a lenient reader of its body; @p r moves behind it. The length must have the 5-byte
 * form and the version its shortest one, which is all that OceanBase writes (its own decoder takes others too).
 */
obv_rd obv_rd_unis(obv_rd *r, uint64_t version);
/** The whole envelope (header and body) as bytes, without looking inside. */
obv_span obv_rd_unis_span(obv_rd *r, uint64_t version);
/** Envelope of version 1 around @p n varints that are of no interest; they must be whole where they are present. */
void obv_rd_skip_words(obv_rd *r, size_t n);
/**
 * Before each item of an array: unlike a member of an envelope, it cannot be absent. Sets bad where no byte is left.
 */
static inline void obv_rd_item(obv_rd *r) { r->bad |= r->p == r->end; }
/** Array count; bad when more than @p max, or more than the bytes that are left can hold (item_min bytes each). */
size_t obv_rd_count(obv_rd *r, size_t max, size_t item_min);
/** OBV_OK, or OBV_E_CORRUPT naming @p what and the place when the reader has failed. */
OBV_CHECK obv_code obv_rd_check(const obv_rd *r, const char *what, obv_err *err);
/** As obv_rd_check, and nothing may be left over. */
OBV_CHECK obv_code obv_rd_done(const obv_rd *r, const char *what, obv_err *err);

/* ---- emitting */

void obv_put_u8(obv_buf *b, uint8_t v);
void obv_put_le16(obv_buf *b, uint16_t v);
void obv_put_le32(obv_buf *b, uint32_t v);
void obv_put_le64(obv_buf *b, uint64_t v);
void obv_put_be16(obv_buf *b, uint16_t v);
void obv_put_be32(obv_buf *b, uint32_t v);
void obv_put_be64(obv_buf *b, uint64_t v);
void obv_put_vu64(obv_buf *b, uint64_t v);
void obv_put_vu32(obv_buf *b, uint32_t v);
static inline void obv_put_vi64(obv_buf *b, int64_t v) { obv_put_vu64(b, (uint64_t)v); }
static inline void obv_put_vi32(obv_buf *b, int32_t v) { obv_put_vu32(b, (uint32_t)v); }
static inline void obv_put_span(obv_buf *b, obv_span s) { obv_buf_append(b, s.p, s.len); }
void obv_put_vstr(obv_buf *b, obv_span s);
void obv_put_cstr(obv_buf *b, const char *s);
void obv_put_fixed_str(obv_buf *b, const char *s);

#define OBV_UNIS_LEN_BYTES 5u /* the length field as written, whatever its value */
/** Begins an envelope and returns its mark; everything appended until obv_unis_end is its body. */
size_t obv_unis_begin(obv_buf *b, uint64_t version);
void obv_unis_end(obv_buf *b, size_t mark);
/** Bytes of v as a varint: 1..10. */
size_t obv_vu64_len(uint64_t v);
/** Bytes of an envelope's header for @p version. */
static inline size_t obv_unis_header_len(uint64_t version) { return obv_vu64_len(version) + OBV_UNIS_LEN_BYTES; }
/** Writes version and 5-byte length for a body of @p body_len bytes that follows elsewhere. */
void obv_put_unis_header(obv_buf *b, uint64_t version, uint64_t body_len);

/* ---- 16-bit XOR folds of header checksums */
static inline uint16_t obv_fold64(uint64_t v) { return (uint16_t)(v ^ (v >> 16) ^ (v >> 32) ^ (v >> 48)); }
static inline uint16_t obv_fold32(uint32_t v) { return (uint16_t)(v ^ (v >> 16)); }

#endif
