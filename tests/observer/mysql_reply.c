/* mysql_reply.c - see mysql_reply.h */
#include "mysql_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_AUTOCOMMIT 2u
#define CHARSET_UTF8MB4 45u
#define CHARSET_BINARY 63u
#define FLAG_UNSIGNED 32u
#define FLAG_BINARY 128u

/* Sends the payload and empties it for the next packet. */
static void send_packet(struct my_chan *ch, struct my_buf *b)
{
    my_queue_packet(ch, b);
    b->len = 0;
}

void my_reply_ok(struct my_chan *ch, uint64_t affected)
{
    struct my_buf b = {0};
    my_put_int(&b, 0, 1);
    my_put_lenenc(&b, affected);
    my_put_lenenc(&b, 0);
    my_put_int(&b, STATUS_AUTOCOMMIT, 2);
    my_put_int(&b, 0, 2);
    send_packet(ch, &b);
    my_buf_free(&b);
}

void my_reply_eof(struct my_chan *ch)
{
    struct my_buf b = {0};
    my_put_int(&b, 0xfe, 1);
    my_put_int(&b, 0, 2);
    my_put_int(&b, STATUS_AUTOCOMMIT, 2);
    send_packet(ch, &b);
    my_buf_free(&b);
}

void my_reply_error(struct my_chan *ch, const struct sql_err *err)
{
    struct my_buf b = {0};
    my_put_int(&b, 0xff, 1);
    my_put_int(&b, (uint64_t)err->number, 2);
    my_put_str(&b, "#");
    my_put(&b, err->state, 5);
    my_put_str(&b, err->text);
    send_packet(ch, &b);
    my_buf_free(&b);
}

static void put_column(struct my_buf *b, const struct sql_col *c)
{
    bool text = c->type == MYT_STRING || c->type == MYT_BLOB;
    unsigned flags = (c->is_unsigned ? FLAG_UNSIGNED : 0) | (text ? 0 : FLAG_BINARY);
    my_put_lenstr(b, "def", 3);
    my_put_lenstr(b, "oceanbase", 9);
    my_put_lenstr(b, c->table, strlen(c->table));
    my_put_lenstr(b, c->table, strlen(c->table));
    my_put_lenstr(b, c->name, strlen(c->name));
    my_put_lenstr(b, c->name, strlen(c->name));
    my_put_int(b, 12, 1);
    my_put_int(b, text ? CHARSET_UTF8MB4 : CHARSET_BINARY, 2);
    my_put_int(b, c->length, 4);
    my_put_int(b, c->type, 1);
    my_put_int(b, flags, 2);
    my_put_int(b, c->type == MYT_TIMESTAMP ? 6 : c->type == MYT_DOUBLE ? 31 : 0, 1);
    my_put_int(b, 0, 2);
}

void my_reply_columns(struct my_chan *ch, const struct sql_result *r)
{
    struct my_buf b = {0};
    for (size_t i = 0; i < r->ncol; i++) {
        put_column(&b, &r->cols[i]);
        send_packet(ch, &b);
    }
    my_buf_free(&b);
    my_reply_eof(ch);
}

static const char *text_of(const struct sql_result *r, const struct sql_value *v)
{
    return v->len ? (const char *)r->text.data + v->off : "";
}

static void put_text_row(struct my_buf *b, const struct sql_result *r, const struct sql_value *row)
{
    for (size_t i = 0; i < r->ncol; i++) {
        char num[40];
        int n;
        switch (row[i].kind) {
        case SV_NULL:
            my_put_int(b, 0xfb, 1);
            break;
        case SV_INT:
            n = r->cols[i].is_unsigned ? snprintf(num, sizeof num, "%" PRIu64, (uint64_t)row[i].i)
                                       : snprintf(num, sizeof num, "%" PRId64, row[i].i);
            my_put_lenstr(b, num, (size_t)n);
            break;
        case SV_DOUBLE:
            n = snprintf(num, sizeof num, "%.17g", row[i].d);
            my_put_lenstr(b, num, (size_t)n);
            break;
        case SV_TEXT:
            my_put_lenstr(b, text_of(r, &row[i]), row[i].len);
            break;
        }
    }
}

static int64_t int_of(const struct sql_result *r, const struct sql_value *v)
{
    if (v->kind == SV_TEXT)
        return strtoll(text_of(r, v), NULL, 10);
    return v->kind == SV_DOUBLE ? (int64_t)v->d : v->i;
}

static void put_binary_time(struct my_buf *b, const char *text)
{
    unsigned year, month, day, hour, minute, second, us;
    if (sscanf(text, "%4u-%2u-%2u %2u:%2u:%2u.%6u", &year, &month, &day, &hour, &minute, &second, &us) != 7) {
        my_put_int(b, 0, 1);
        return;
    }
    my_put_int(b, 11, 1);
    my_put_int(b, year, 2);
    my_put_int(b, month, 1);
    my_put_int(b, day, 1);
    my_put_int(b, hour, 1);
    my_put_int(b, minute, 1);
    my_put_int(b, second, 1);
    my_put_int(b, us, 4);
}

static void put_binary_value(struct my_buf *b, const struct sql_result *r, const struct sql_col *c,
                             const struct sql_value *v)
{
    char num[40];
    double d;
    uint64_t bits;
    switch (c->type) {
    case MYT_LONGLONG:
        my_put_int(b, (uint64_t)int_of(r, v), 8);
        break;
    case MYT_TINY:
        my_put_int(b, (uint64_t)int_of(r, v), 1);
        break;
    case MYT_DOUBLE:
        d = v->kind == SV_DOUBLE ? v->d : v->kind == SV_INT ? (double)v->i : strtod(text_of(r, v), NULL);
        memcpy(&bits, &d, 8);
        my_put_int(b, bits, 8);
        break;
    case MYT_TIMESTAMP:
        put_binary_time(b, v->kind == SV_TEXT ? text_of(r, v) : "");
        break;
    default:
        if (v->kind == SV_TEXT)
            my_put_lenstr(b, text_of(r, v), v->len);
        else
            my_put_lenstr(b, num,
                          (size_t)(v->kind == SV_INT ? snprintf(num, sizeof num, "%" PRId64, v->i)
                                                     : snprintf(num, sizeof num, "%.17g", v->d)));
    }
}

static void put_binary_row(struct my_buf *b, const struct sql_result *r, const struct sql_value *row)
{
    my_put_int(b, 0, 1);
    size_t bitmap = b->len;
    my_put_zero(b, (r->ncol + 9) / 8);
    for (size_t i = 0; i < r->ncol && !b->failed; i++) {
        if (row[i].kind == SV_NULL)
            b->data[bitmap + (i + 2) / 8] |= (uint8_t)(1u << ((i + 2) % 8));
        else
            put_binary_value(b, r, &r->cols[i], &row[i]);
    }
}

void my_reply_result(struct my_chan *ch, const struct sql_result *r, bool binary)
{
    if (!r->ncol) {
        my_reply_ok(ch, r->affected);
        return;
    }
    struct my_buf b = {0};
    my_put_lenenc(&b, r->ncol);
    send_packet(ch, &b);
    my_reply_columns(ch, r);
    size_t rows = sql_result_rows(r);
    for (size_t i = 0; i < rows; i++) {
        if (binary)
            put_binary_row(&b, r, r->values + i * r->ncol);
        else
            put_text_row(&b, r, r->values + i * r->ncol);
        send_packet(ch, &b);
        if (ch->out.len > 1u << 20 && !my_flush(ch)) /* the client is gone: the loop ends at its next read */
            break;
    }
    my_buf_free(&b);
    my_reply_eof(ch);
}

void my_reply_prepared(struct my_chan *ch, uint32_t id, size_t params, const struct sql_result *r)
{
    struct my_buf b = {0};
    my_put_int(&b, 0, 1);
    my_put_int(&b, id, 4);
    my_put_int(&b, r->ncol, 2);
    my_put_int(&b, params, 2);
    my_put_int(&b, 0, 3);
    send_packet(ch, &b);
    const struct sql_col param = {.name = "?", .type = MYT_STRING, .length = 65535};
    for (size_t i = 0; i < params; i++) {
        put_column(&b, &param);
        send_packet(ch, &b);
    }
    my_buf_free(&b);
    if (params)
        my_reply_eof(ch);
    if (r->ncol)
        my_reply_columns(ch, r);
}
