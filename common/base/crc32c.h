/* crc32c.h - the checksum OceanBase calls crc64: the raw CRC-32C register, without inversions, as 64 bits */
#ifndef OBV_BASE_CRC32C_H
#define OBV_BASE_CRC32C_H

#include "base/span.h"

/**
 * Continues from @p init (0 to begin; the result of the bytes before to go on). No bytes: init as it is; else only its
 * low 32 bits count. Zeros after init 0 give 0: a header must tell an empty file from a good one.
 */
uint64_t obv_crc64(uint64_t init, obv_span bytes);

#endif
