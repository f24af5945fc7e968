/* mysql_wire.c - see mysql_wire.h */
#include "mysql_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX 0xffffffu

void my_buf_free(struct my_buf *b)
{
    free(b->data);
    *b = (struct my_buf){0};
}

static uint8_t *grow(struct my_buf *b, size_t more)
{
    if (b->failed)
        return NULL;
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < need)
            cap *= 2;
        uint8_t *p = realloc(b->data, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->data = p;
        b->cap = cap;
    }
    uint8_t *at = b->data + b->len;
    b->len = need;
    return at;
}

void my_put(struct my_buf *b, const void *data, size_t len)
{
    uint8_t *at = len ? grow(b, len) : NULL;
    if (at)
        memcpy(at, data, len);
}

void my_put_str(struct my_buf *b, const char *s) { my_put(b, s, strlen(s)); }

void my_put_int(struct my_buf *b, uint64_t v, unsigned bytes)
{
    uint8_t *at = grow(b, bytes);
    for (unsigned i = 0; at && i < bytes; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

void my_put_zero(struct my_buf *b, size_t count)
{
    uint8_t *at = count ? grow(b, count) : NULL;
    if (at)
        memset(at, 0, count);
}

void my_put_lenenc(struct my_buf *b, uint64_t v)
{
    if (v < 251) {
        my_put_int(b, v, 1);
    } else if (v < 1u << 16) {
        my_put_int(b, 0xfc, 1);
        my_put_int(b, v, 2);
    } else if (v < 1u << 24) {
        my_put_int(b, 0xfd, 1);
        my_put_int(b, v, 3);
    } else {
        my_put_int(b, 0xfe, 1);
        my_put_int(b, v, 8);
    }
}

void my_put_lenstr(struct my_buf *b, const void *data, size_t len)
{
    my_put_lenenc(b, len);
    my_put(b, data, len);
}

const uint8_t *my_get_bytes(struct my_cur *c, size_t len)
{
    if (c->bad || len > (size_t)(c->end - c->at)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += len;
    return p;
}

uint64_t my_get_int(struct my_cur *c, unsigned bytes)
{
    const uint8_t *p = my_get_bytes(c, bytes);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint64_t my_get_lenenc(struct my_cur *c)
{
    uint64_t first = my_get_int(c, 1);
    switch (first) {
    case 0xfc:
        return my_get_int(c, 2);
    case 0xfd:
        return my_get_int(c, 3);
    case 0xfe:
        return my_get_int(c, 8);
    case 0xfb:
    case 0xff:
        c->bad = true;
        return 0;
    default:
        return first;
    }
}

const char *my_get_cstr(struct my_cur *c)
{
    const uint8_t *nul = c->bad ? NULL : memchr(c->at, 0, (size_t)(c->end - c->at));
    if (!nul) {
        c->bad = true;
        return NULL;
    }
    const char *s = (const char *)c->at;
    c->at = nul + 1;
    return s;
}

static bool read_full(int fd, uint8_t *to, size_t len)
{
    while (len) {
        ssize_t n = recv(fd, to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        len -= (size_t)n;
    }
    return true;
}

bool my_read_packet(struct my_chan *ch, struct my_buf *in)
{
    in->len = 0;
    for (;;) {
        uint8_t head[4];
        if (!read_full(ch->fd, head, sizeof head) || head[3] != ch->seq)
            return false;
        ch->seq++;
        size_t len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
        if (in->len + len > MY_MAX_PACKET)
            return false;
        uint8_t *at = len ? grow(in, len) : NULL;
        if (len && (!at || !read_full(ch->fd, at, len)))
            return false;
        if (len < FRAME_MAX)
            return true;
    }
}

void my_queue_packet(struct my_chan *ch, const struct my_buf *payload)
{
    size_t left = payload->len;
    const uint8_t *at = payload->data;
    if (payload->failed)
        ch->out.failed = true;
    for (;;) {
        size_t n = left < FRAME_MAX ? left : FRAME_MAX;
        my_put_int(&ch->out, n, 3);
        my_put_int(&ch->out, ch->seq++, 1);
        my_put(&ch->out, at, n);
        left -= n;
        if (n < FRAME_MAX)
            return;
        at += n;
    }
}

bool my_flush(struct my_chan *ch)
{
    if (ch->out.failed)
        return false;
    for (size_t at = 0; at < ch->out.len;) {
        ssize_t n = send(ch->fd, ch->out.data + at, ch->out.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    ch->out.len = 0;
    if (ch->out.cap > 1u << 20) /* one large answer must not stay for the life of the connection */
        my_buf_free(&ch->out);
    return true;
}
