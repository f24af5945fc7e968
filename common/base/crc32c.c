#include "base/crc32c.h"

#include <isa-l/crc.h>

#define PIECE_MAX (1u << 30) /* ISA-L takes an int */

uint64_t obv_crc64(uint64_t init, obv_span bytes)
{
    if (bytes.len == 0)
        return init;
    uint32_t crc = (uint32_t)init;
    while (bytes.len > 0) {
        const size_t n = bytes.len < PIECE_MAX ? bytes.len : PIECE_MAX;
        /* ISA-L does not write, it only lacks the const */
        crc = crc32_iscsi((unsigned char *)bytes.p, (int)n, crc);
        bytes.p += n;
        bytes.len -= n;
    }
    return crc;
}
