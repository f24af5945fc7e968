/* sort.h - comparisons for qsort and bsearch */
#ifndef OBV_BASE_SORT_H
#define OBV_BASE_SORT_H

#include <stdint.h>

/** Ascending uint64_t. */
static inline int obv_cmp_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#endif
