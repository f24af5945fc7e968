/* util.h - byte buffers, OceanBase's serialization primitives, checksums and small I/O helpers of the stand-in
 *
 * A test program: out of memory ends the process. Buffers grow; readers carry a sticky error.
 */
#ifndef OBS_UTIL_H
#define OBS_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
/** printf into fresh memory. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct obuf {
    uint8_t *p;
    size_t n, cap;
};
void ob_free(struct obuf *b);
uint8_t *ob_grow(struct obuf *b, size_t n); /* n more bytes, not initialised */
void ob_put(struct obuf *b, const void *p, size_t n);
void ob_zero(struct obuf *b, size_t n);
void ob_u8(struct obuf *b, unsigned v);
void ob_le16(struct obuf *b, uint16_t v);
void ob_le32(struct obuf *b, uint32_t v);
void ob_le64(struct obuf *b, uint64_t v);
void ob_be16(struct obuf *b, uint16_t v);
void ob_be32(struct obuf *b, uint32_t v);
void ob_be64(struct obuf *b, uint64_t v);
void ob_vi(struct obuf *b, uint64_t v);  /* vi64 */
void ob_vs(struct obuf *b, int64_t v);   /* vi64 of a signed number */
void ob_vi32(struct obuf *b, int32_t v); /* vi32, sign extended to 32 bits only */
void ob_vstr(struct obuf *b, const void *p, size_t n);
/** UNIS envelope: version and a 5-byte length that unis_end fills in. */
size_t unis_begin(struct obuf *b, unsigned version);
void unis_end(struct obuf *b, size_t at);

struct oin {
    const uint8_t *p;
    size_t n, at;
    bool bad; /* sticky: reads after it give zeros */
};
uint8_t in_u8(struct oin *r);
uint16_t in_be16(struct oin *r);
uint32_t in_be32(struct oin *r);
uint64_t in_be64(struct oin *r);
uint16_t in_le16(struct oin *r);
uint32_t in_le32(struct oin *r);
uint64_t in_le64(struct oin *r);
uint64_t in_vi(struct oin *r);
int32_t in_vi32(struct oin *r);
const uint8_t *in_bytes(struct oin *r, size_t n); /* NULL if too short */
/** Opens an envelope of exactly @p version; @p body gets the members. False and bad on anything else. */
bool in_unis(struct oin *r, unsigned version, struct oin *body);

uint16_t ld16(const uint8_t *p);
uint32_t ld32(const uint8_t *p);
uint64_t ld64(const uint8_t *p);
uint16_t ldbe16(const uint8_t *p);
uint32_t ldbe32(const uint8_t *p);
uint64_t ldbe64(const uint8_t *p);
void st32(uint8_t *p, uint32_t v);
void st64(uint8_t *p, uint64_t v);
void stbe32(uint8_t *p, uint32_t v);
void stbe64(uint8_t *p, uint64_t v);

/** OceanBase's ob_crc64: raw CRC-32C register, no inversions, zero-extended. */
uint64_t ob_crc(uint64_t init, const void *p, size_t n);
uint64_t murmur64a(const void *p, size_t n, uint64_t seed);
/** XOR of the 16-bit words. */
uint16_t fold64(uint64_t v);
uint16_t fold32(uint32_t v);

int64_t now_us(void);
/** Adds to an address modulo 2^64, without the compiler's complaint about signed overflow. */
static inline int64_t wrap_add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
void sleep_us(int64_t us);
/** xorshift64 step. */
uint64_t rnd_next(uint64_t *state);

int mkdirs(const char *path);
/** Whole-file replacement by temporary and rename. 0 or -errno. */
int write_file(const char *path, const void *p, size_t n);
/** Whole file, NUL added behind; NULL if it cannot be read. */
uint8_t *read_file(const char *path, size_t *n);
int pwrite_all(int fd, const void *p, size_t n, int64_t off);
int pread_all(int fd, void *p, size_t n, int64_t off);

#endif
