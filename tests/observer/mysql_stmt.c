/* mysql_stmt.c - see mysql_stmt.h; values arrive in the binary form */
#include "mysql_stmt.h"

#include "mysql_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stmt {
    uint32_t id; /* 0 = free place */
    char *text;
    size_t len, params, columns;
    uint16_t *types; /* of the parameters, as bound last */
};

struct my_stmts {
    struct stmt v[MY_MAX_STMTS];
    uint32_t last_id;
};

struct my_stmts *my_stmts_new(void) { return calloc(1, sizeof(struct my_stmts)); }

static void drop(struct stmt *st)
{
    free(st->text);
    free(st->types);
    *st = (struct stmt){0};
}

void my_stmts_free(struct my_stmts *m)
{
    for (size_t i = 0; m && i < MY_MAX_STMTS; i++)
        drop(&m->v[i]);
    free(m);
}

static struct stmt *find(struct my_stmts *m, uint32_t id)
{
    for (size_t i = 0; i < MY_MAX_STMTS; i++)
        if (m->v[i].id == id)
            return &m->v[i];
    return NULL;
}

static void unknown(struct my_chan *ch, uint32_t id)
{
    struct sql_err err;
    sql_fail(&err, SQL_E_STMT, "Unknown prepared statement handler (%u)", id);
    my_reply_error(ch, &err);
}

void my_stmt_prepare(struct my_stmts *m, struct sql_session *s, struct my_chan *ch, struct my_cur *body)
{
    struct sql_err err;
    struct sql_result r = {0};
    size_t params = 0;
    struct stmt *st = find(m, 0);
    const char *text = (const char *)body->at;
    size_t len = (size_t)(body->end - body->at);
    bool ok = st || sql_fail(&err, 1461, "Can't create more than %d statements", MY_MAX_STMTS);
    ok = ok && sql_run(s, text, len, NULL, 0, true, &params, &r, &err);
    if (ok && params > MY_MAX_PARAMS)
        ok = sql_fail(&err, 1390, "Prepared statement contains too many placeholders");
    char *copy = ok ? malloc(len + 1) : NULL;
    uint16_t *types = ok ? calloc(params + 1, sizeof *types) : NULL;
    if (ok && (!copy || !types))
        ok = sql_fail(&err, OB_ERR_UNEXPECTED, "no memory");
    if (ok) {
        memcpy(copy, text, len);
        copy[len] = '\0';
        *st = (struct stmt){
            .id = ++m->last_id, .text = copy, .len = len, .params = params, .columns = r.ncol, .types = types};
        my_reply_prepared(ch, st->id, params, &r);
    } else {
        free(copy);
        free(types);
        my_reply_error(ch, &err);
    }
    sql_result_free(&r);
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(v << shift) >> shift;
}

/* 4, 7 or 11 bytes to the text form. */
static bool get_time(struct my_cur *c, char *out, size_t cap)
{
    uint64_t len = my_get_int(c, 1);
    if (len != 0 && len != 4 && len != 7 && len != 11)
        return false;
    unsigned year = len ? (unsigned)my_get_int(c, 2) : 0, month = len ? (unsigned)my_get_int(c, 1) : 0;
    unsigned day = len ? (unsigned)my_get_int(c, 1) : 0, t[3] = {0};
    for (int i = 0; len > 4 && i < 3; i++)
        t[i] = (unsigned)my_get_int(c, 1);
    unsigned us = len > 7 ? (unsigned)my_get_int(c, 4) : 0;
    snprintf(out, cap, "%04u-%02u-%02u %02u:%02u:%02u.%06u", year, month, day, t[0], t[1], t[2], us);
    return true;
}

static bool get_param(struct my_cur *c, uint16_t type, struct sql_param *p, char time[40])
{
    bool is_unsigned = type & 0x8000;
    unsigned bytes = 0;
    float f;
    switch (type & 0xff) {
    case 1:
        bytes = 1;
        break;
    case 2:
    case 13:
        bytes = 2;
        break;
    case 3:
    case 9:
        bytes = 4;
        break;
    case 8:
        bytes = 8;
        break;
    case 4: {
        uint32_t bits = (uint32_t)my_get_int(c, 4);
        memcpy(&f, &bits, 4);
        *p = (struct sql_param){.kind = SP_DOUBLE, .d = (double)f};
        return true;
    }
    case 5: {
        uint64_t bits = my_get_int(c, 8);
        *p = (struct sql_param){.kind = SP_DOUBLE};
        memcpy(&p->d, &bits, 8);
        return true;
    }
    case 6:
        *p = (struct sql_param){.kind = SP_NULL};
        return true;
    case 7:
    case 10:
    case 12:
        if (!get_time(c, time, 40))
            return false;
        *p = (struct sql_param){.kind = SP_TEXT, .text = time, .len = strlen(time)};
        return true;
    case 0:
    case 15:
    case 246:
    case 249:
    case 250:
    case 251:
    case 252:
    case 253:
    case 254: {
        uint64_t len = my_get_lenenc(c);
        const uint8_t *at = my_get_bytes(c, len);
        *p = (struct sql_param){.kind = SP_TEXT, .text = (const char *)at, .len = (size_t)len};
        return true;
    }
    default:
        return false;
    }
    uint64_t v = my_get_int(c, bytes);
    *p = (struct sql_param){.kind = SP_INT, .i = is_unsigned ? (int64_t)v : sign_extend(v, bytes)};
    return true;
}

static bool get_params(struct my_cur *c, struct stmt *st, struct sql_param *params, char (*times)[40])
{
    const uint8_t *nulls = my_get_bytes(c, (st->params + 7) / 8);
    if (my_get_int(c, 1) == 1)
        for (size_t i = 0; i < st->params; i++)
            st->types[i] = (uint16_t)my_get_int(c, 2);
    for (size_t i = 0; i < st->params; i++) {
        if (c->bad)
            return false;
        if (nulls[i / 8] & (1u << (i % 8)))
            params[i] = (struct sql_param){.kind = SP_NULL};
        else if (!get_param(c, st->types[i], &params[i], times[i]))
            return false;
    }
    return !c->bad;
}

void my_stmt_execute(struct my_stmts *m, struct sql_session *s, struct my_chan *ch, struct my_cur *body)
{
    uint32_t id = (uint32_t)my_get_int(body, 4);
    my_get_bytes(body, 5); /* cursor type and iteration count: an answer is always sent whole */
    struct stmt *st = id ? find(m, id) : NULL;
    if (!st) {
        unknown(ch, id);
        return;
    }
    struct sql_err err;
    struct sql_result r = {0};
    struct sql_param *params = calloc(st->params + 1, sizeof *params);
    char(*times)[40] = calloc(st->params + 1, sizeof *times);
    bool ok = params && times ? true : sql_fail(&err, OB_ERR_UNEXPECTED, "no memory");
    if (ok && st->params && !get_params(body, st, params, times))
        ok = sql_fail(&err, 1210, "Incorrect arguments to EXECUTE");
    ok = ok && sql_run(s, st->text, st->len, params, st->params, false, NULL, &r, &err);
    if (ok)
        my_reply_result(ch, &r, true);
    else
        my_reply_error(ch, &err);
    sql_result_free(&r);
    free(params);
    free(times);
}

void my_stmt_close(struct my_stmts *m, struct my_cur *body)
{
    uint32_t id = (uint32_t)my_get_int(body, 4);
    struct stmt *st = id ? find(m, id) : NULL;
    if (st)
        drop(st);
}

void my_stmt_reset(struct my_stmts *m, struct my_chan *ch, struct my_cur *body)
{
    uint32_t id = (uint32_t)my_get_int(body, 4);
    if (id && find(m, id))
        my_reply_ok(ch, 0);
    else
        unknown(ch, id);
}
