/* sql_result.c - the rows of one answer, kept whole: OceanBase's limits on an answer are the client's to set */
#include "sql_priv.h"

#include <stdlib.h>

void sql_result_free(struct sql_result *r)
{
    free(r->cols);
    free(r->values);
    my_buf_free(&r->text);
    *r = (struct sql_result){0};
}

bool sql_result_cols(struct sql_result *r, size_t n)
{
    r->cols = calloc(n ? n : 1, sizeof *r->cols);
    r->ncol = r->cols ? n : 0;
    return r->cols != NULL;
}

bool sql_result_add(struct sql_result *r, struct sql_value v, const void *text)
{
    if (r->nval == r->capval) {
        size_t cap = r->capval ? r->capval * 2 : 256;
        if (cap * sizeof *r->values + r->text.len > SQL_MAX_RESULT)
            return false;
        struct sql_value *p = realloc(r->values, cap * sizeof *p);
        if (!p)
            return false;
        r->values = p;
        r->capval = cap;
    }
    if (v.kind == SV_TEXT) {
        if (r->text.len + v.len > SQL_MAX_RESULT)
            return false;
        v.off = r->text.len;
        my_put(&r->text, text, v.len);
    }
    r->values[r->nval++] = v;
    return !r->text.failed;
}

size_t sql_result_rows(const struct sql_result *r) { return r->ncol ? r->nval / r->ncol : 0; }
