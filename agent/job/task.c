#include "job/task.h"

void obv_task_free(obv_task *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->file_count; i++)
        free(t->files[i].content);
    free(t->files);
    free(t->objects);
    free(t->pgs);
    free(t->dropped);
    free(t);
}

void obv_task_result_fini(obv_task_result *r)
{
    free(r->places);
    *r = (obv_task_result){0};
}
