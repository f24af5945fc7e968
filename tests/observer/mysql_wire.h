/* mysql_wire.h - packets of the MySQL client/server protocol as a server sees them: framing, growing buffers, fields */
#ifndef SI_MYSQL_WIRE_H
#define SI_MYSQL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MY_MAX_PACKET (16u << 20) /* bytes of one command; a longer one ends the connection */

/** Bytes that grow at the end. After `failed` is set every append is ignored; look at it once, before use. */
struct my_buf {
    uint8_t *data;
    size_t len, cap;
    bool failed; /* out of memory */
};

void my_buf_free(struct my_buf *b);
void my_put(struct my_buf *b, const void *data, size_t len);
void my_put_str(struct my_buf *b, const char *s);              /* without the NUL */
void my_put_int(struct my_buf *b, uint64_t v, unsigned bytes); /* little endian */
void my_put_zero(struct my_buf *b, size_t count);
void my_put_lenenc(struct my_buf *b, uint64_t v);
void my_put_lenstr(struct my_buf *b, const void *data, size_t len);

/** Reads a span from its front. After `bad` is set every get gives zero. */
struct my_cur {
    const uint8_t *at, *end;
    bool bad; /* something lay behind the end */
};

uint64_t my_get_int(struct my_cur *c, unsigned bytes);
uint64_t my_get_lenenc(struct my_cur *c);
const uint8_t *my_get_bytes(struct my_cur *c, size_t len); /* NULL and bad when short */
const char *my_get_cstr(struct my_cur *c);                 /* NUL-terminated inside the span; NULL and bad when not */

/** One connection's framing: the sequence number counts packets of both directions within a command. */
struct my_chan {
    int fd;
    uint8_t seq;
    struct my_buf out; /* whole frames that wait for my_flush */
};

/** Reads one packet (continued ones joined) into @p in. @return false: closed, broken or longer than MY_MAX_PACKET. */
bool my_read_packet(struct my_chan *ch, struct my_buf *in);
/** Frames @p payload behind what already waits. */
void my_queue_packet(struct my_chan *ch, const struct my_buf *payload);
/** Sends what waits. @return false: connection is gone. */
bool my_flush(struct my_chan *ch);

#endif
